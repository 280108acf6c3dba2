//! A problem as a page of the dashboard: what is wrong in plain words, the one thing to do about it, and a way back.

use http::Response;

use super::super::dashboard::{ErrorPage, Way};
use super::super::viewer::Reader;
use super::super::{Body, Services, answer};
use super::Problem;

impl Problem {
    /// The answer to a person.
    pub(in crate::web) fn respond_to(self, reader: &Reader, services: &Services, request_id: &str) -> Response<Body> {
        self.log(request_id);
        let shell = reader.shell(services);
        let ways = match (shell.signed_in, reader.has_start()) {
            (true, _) => self.ways(reader.path()),
            (false, true) => vec![Way::to("/", "To the start")],
            (false, false) => Vec::new(),
        };
        let (status, title) = (self.status.as_u16(), self.headline());
        let own = ways.first().filter(|_| reader.has_sent_a_form()).map(|way| &*way.href);
        let page = ErrorPage { shell, own, ways: &ways, status, title, sentence: &self.sentence, request_id };
        let mut response = answer::html(self.status, page.render());
        self.show(response.headers_mut());
        response
    }

    /// What has happened, in a few words for people.
    fn headline(&self) -> &'static str {
        match self.code {
            "not_found" => "Nothing is here",
            "gone" => "No longer here",
            "bad_request" => "That does not fit",
            "method_not_allowed" => "Not this way",
            "cross_site" => "Please try again",
            "forbidden" => "Not for you to do",
            "https_required" => "Please come by https",
            "wrong_host" => "Not under this name",
            "not_configured" => "The set-up needs a change",
            "slow_down" | "too_many" => "Too many requests",
            "over_budget" => "No call to Smartcar is left for it",
            "not_connected" | "reconnect_required" => "The car is not connected",
            "no_permission" => "The owner has not granted it",
            "upstream" => "Smartcar did not do it",
            "busy" => "Not at this moment",
            "damaged" | "internal" => "Something is broken here",
            _ => self.title(),
        }
    }

    /// Where it goes on for who is signed in: what mends it, then back to where they were, then to the start.
    fn ways(&self, path: &str) -> Vec<Way> {
        let mends = match self.code {
            "not_configured" => Some(Way::to("/setup", "Open set-up")),
            "not_connected" | "reconnect_required" => Some(Way::to("/connections", "Connect it again")),
            _ => None,
        };
        let mut ways: Vec<Way> = mends.into_iter().chain(self.back(path)).collect();
        ways.push(Way::to("/", "To the cars"));
        let mut seen = Vec::new();
        ways.retain(|way| {
            let is_new = !seen.contains(&way.href);
            seen.push(way.href.clone());
            is_new
        });
        ways
    }

    /// The page that stands above this address.
    fn back(&self, path: &str) -> Option<Way> {
        let mut parts = path.trim_matches('/').split('/');
        Some(match (parts.next()?, parts.next(), parts.next()) {
            ("webhooks", ..) => Way::to("/webhooks", "All webhooks"),
            ("connections", ..) => Way::to("/connections", "All connections"),
            ("system" | "audit" | "answers", ..) => Way::to("/system", "To the system"),
            ("setup", ..) => Way::to("/setup", "To the set-up"),
            ("vehicles", Some(id), Some(_)) if self.code != "not_found" => Way::to(format!("/vehicles/{id}"), "Back to the car"),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_thing_to_do_and_a_way_back() {
        let ways = |code: &'static str, path: &str| {
            let problem = Problem::new(http::StatusCode::BAD_REQUEST, code, "");
            problem.ways(path).into_iter().map(|way| way.href).collect::<Vec<_>>()
        };
        assert_eq!(ways("not_configured", "/connect"), ["/setup", "/"]);
        assert_eq!(ways("not_configured", "/setup/check"), ["/setup", "/"]);
        assert_eq!(ways("not_found", "/webhooks/4711"), ["/webhooks", "/"]);
        assert_eq!(ways("upstream", "/vehicles/a%2Fb/refresh"), ["/vehicles/a%2Fb", "/"]);
        assert_eq!(ways("not_found", "/vehicles/a/refresh"), ["/"]);
        assert_eq!(ways("not_found", "//evil.example"), ["/"]);
    }
}
