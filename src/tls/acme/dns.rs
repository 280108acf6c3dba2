//! Writing records into the DNS, as dns-01 wants it.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use tokio::process::Command;
use url::form_urlencoded::Serializer;

use super::Dns;
use crate::model::Secret;
use crate::world::Transport;

impl Dns {
    /// Writes a record; returns once it can be asked for, or says why it cannot.
    pub(super) async fn set(&self, transport: &dyn Transport, name: &str, value: &str) -> Result<(), String> {
        match self {
            Dns::DuckDns { token } => {
                duckdns(transport, &token.get(), name, &[("txt", value)]).await?;
                tokio::time::sleep(SPREADING).await;
                Ok(())
            }
            Dns::Exec(program) => exec(program, ["set", name, value]).await,
        }
    }

    /// Takes it away again.
    pub(super) async fn clear(&self, transport: &dyn Transport, name: &str, value: &str) -> Result<(), String> {
        match self {
            Dns::DuckDns { token } => duckdns(transport, &token.get(), name, &[("txt", value), ("clear", "true")]).await,
            Dns::Exec(program) => exec(program, ["clear", name, value]).await,
        }
    }
}

async fn duckdns(transport: &dyn Transport, token: &Secret, name: &str, what: &[(&str, &str)]) -> Result<(), String> {
    // Below the account's name, all names have the same record.
    let account = name.strip_suffix(".duckdns.org").and_then(|name| name.rsplit('.').next()).unwrap_or(name);
    // SECURITY: the token is part of the address, which no error and no log shows.
    let query = Serializer::new(String::new())
        .extend_pairs([("domains", account), ("token", token.expose())])
        .extend_pairs(what)
        .finish();
    let request = Request::get(format!("https://www.duckdns.org/update?{query}")).body(Bytes::new());
    let request = request.map_err(|_| "the token is not one of DuckDNS".to_owned())?;
    let answer = transport.send(request, ANSWER).await.map_err(|error| format!("DuckDNS: {error}"))?;
    if answer.status().is_success() && answer.body().starts_with(b"OK") {
        return Ok(());
    }
    Err(format!("DuckDNS refuses ({}): compare tls.acme.duckdns_token and the name with duckdns.org", answer.status()))
}

/// Calls a program with nothing of our environment, in which secrets may be.
async fn exec(program: &Path, words: [&str; 3]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(words).env_clear().env("PATH", PATH).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(PROGRAM, command.status()).await;
    let shown = program.display();
    match ended {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{shown} {} ended with {status}", words[0])),
        Ok(Err(error)) => Err(format!("{shown} cannot be run: {error}")),
        Err(_) => Err(format!("{shown} {} did not end within {} s", words[0], PROGRAM.as_secs())),
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How long DuckDNS takes to tell all of its servers.
const SPREADING: Duration = Duration::from_secs(30);

const ANSWER: Duration = Duration::from_secs(30);
const PROGRAM: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures_util::FutureExt;
    use futures_util::future::BoxFuture;
    use http::Response;

    use super::*;
    use crate::model::Current;
    use crate::world::TransportError;

    /// Says what it is told to, and remembers what it was asked.
    #[derive(Debug)]
    struct DuckDns(&'static str, Mutex<Vec<String>>);

    impl Transport for DuckDns {
        fn send(&self, request: Request<Bytes>, _: Duration) -> BoxFuture<'_, Result<Response<Bytes>, TransportError>> {
            self.1.lock().unwrap().push(request.uri().to_string());
            async { Ok(Response::new(Bytes::from(self.0))) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn duckdns_is_told_by_the_name_of_the_account() {
        let dns = Dns::DuckDns { token: Current::new(Secret::new("a&b")) };
        let good = DuckDns("OK", Mutex::default());
        dns.set(&good, "_acme-challenge.my.cars.duckdns.org", "x-y").await.unwrap();
        dns.clear(&good, "_acme-challenge.my.cars.duckdns.org", "x-y").await.unwrap();
        let asked = "https://www.duckdns.org/update?domains=cars&token=a%26b&txt=x-y";
        assert_eq!(*good.1.lock().unwrap(), [asked.to_owned(), format!("{asked}&clear=true")]);

        let bad = DuckDns("KO", Mutex::default());
        let why = dns.set(&bad, "_acme-challenge.cars.duckdns.org", "x").await.unwrap_err();
        assert!(why.contains("DuckDNS refuses") && !why.contains("a&b") && !why.contains("a%26b"), "{why}");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_told() {
        let network = DuckDns("", Mutex::default());
        let failing = |program: &str| Dns::Exec(program.into());
        let why = failing("/bin/false").set(&network, "a", "b").await.unwrap_err();
        assert!(why.starts_with("/bin/false set ended with"), "{why}");
        let why = failing("/nowhere/at-all").clear(&network, "a", "b").await.unwrap_err();
        assert!(why.starts_with("/nowhere/at-all cannot be run"), "{why}");
    }
}
