//! From what was written to what it means.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};
use url::Url;
use zeroize::Zeroize;

use super::keys::{KEYS, Key, SAMPLES, Sample};
use super::sources::{Collected, collect};
use super::values::{self, Taken, TlsMode};
use super::written::{Origin, Raw};
use super::{
    Budget, Config, Credentials, Fingerprint, Limits, Listen, Made, Mistakes, Origins, Refresh, Session, Shown, Smartcar,
    Sources, Webhooks,
};
use super::{checks, socket_path};
use crate::store::retention::Keep;

mod acme;
mod tls;

pub(super) fn load(sources: &Sources) -> Result<Config, Mistakes> {
    understand(Arc::new(collect(sources)), &Made::default())
}

/// What was written means this, with `made` below it.
pub(super) fn understand(written: Arc<Collected>, made: &Made) -> Result<Config, Mistakes> {
    let mut reader = Reader { collected: made.below(&written), directory: &written.directory, derived: Vec::new() };
    let data_dir = reader.path("data_dir");
    let listen = reader.listen(written.lan);
    let tls_mode = reader.take("tls.mode", values::tls_mode);
    let public_url = reader.public_url(&listen, tls_mode);
    let private_listen = reader.private_listen();
    let private_url = reader.private_url(&public_url, &private_listen, tls_mode);
    let hosts = reader.take("hosts", values::hosts);
    let names = tls::names(&public_url, &private_url, &hosts, &listen);
    let (tls, http_listen) = reader.tls(tls_mode, &public_url, names);
    let mut config = Config {
        tls,
        hosts,
        socket: socket_path(&data_dir, written.runtime_dir.as_deref()),
        listen,
        private_listen,
        public_api: reader.take("public_api", values::flag),
        http_listen,
        lan: written.lan,
        trusted_proxies: reader.take("trusted_proxies", values::networks),
        proxy_protocol: reader.take("proxy_protocol", values::flag),
        forward_header: reader.take("auth.forward_header", values::forward_header),
        allowed_origins: reader.take("api.allowed_origins", values::origins),
        smartcar: reader.smartcar(&public_url),
        webhooks: reader.webhooks(),
        units: reader.take("units", values::units),
        history: Keep {
            points: reader.take("history.keep", values::time),
            bytes: reader.take("history.keep_bytes", values::bytes),
            hours: reader.take("history.keep_hours", values::time),
            days: reader.take("history.keep_days", values::time),
        },
        refresh: Refresh {
            access_margin: reader.take("refresh.access_margin", values::time),
            refresh_margin: reader.take("refresh.refresh_margin", values::time),
            idle_renewal: reader.take("refresh.idle_renewal", values::time),
        },
        budget: Budget {
            calls_per_vehicle_month: reader.take("budget.calls_per_vehicle_month", values::calls),
            reserve: reader.take("budget.reserve", values::reserve),
            reset_day: reader.take("budget.reset_day", values::day),
        },
        vehicle_metrics: reader.take("metrics.vehicles", values::flag),
        poll_every: reader.take("poll.every", values::every),
        compat_max_age: reader.take("compat.max_age", values::max_age),
        session: Session { idle: reader.take("session.idle", values::time), max: reader.take("session.max", values::time) },
        limits: reader.limits(),
        key: reader.key(&data_dir),
        min_free: reader.take("store.min_free", values::bytes),
        public_url,
        private_url,
        data_dir,
        warnings: std::mem::take(&mut reader.collected.warnings),
        mixed_up: Vec::new(),
        files: reader.collected.files(),
        shown: Vec::new(),
        fingerprints: Vec::new(),
        written: written.clone(),
    };
    checks::check(&mut config, &mut reader.collected);
    reader.collected.verdict()?;
    config.shown = KEYS.iter().map(|key| reader.shown(key)).collect();
    config.fingerprints = KEYS.iter().map(|key| (key.name, reader.fingerprint(key))).collect();
    Ok(config)
}

/// Takes values out of what was written; notes mistakes and goes on with the default.
struct Reader<'a> {
    collected: Collected,
    directory: &'a Path,
    /// Values that follow from other keys: key, value, from what.
    derived: Vec<(&'static str, String, &'static str)>,
}

impl Reader<'_> {
    /// Where to listen. `--lan` opens what would listen on loopback only.
    fn listen(&mut self, lan: bool) -> Vec<Listen> {
        let base = self.base("listen");
        let mut listen = self.take("listen", |raw| values::listen(raw, &base));
        if lan {
            for one in &mut listen {
                if let Listen::Tcp(address) = one
                    && address.ip().is_loopback()
                {
                    // Not IPv6: at home its addresses are public ones, and would be turned away.
                    address.set_ip(Ipv4Addr::UNSPECIFIED.into());
                }
            }
            let shown: Vec<String> = listen.iter().map(Listen::to_string).collect();
            self.derived("listen", shown.join(", "), "--lan");
        }
        listen
    }

    /// Unless it is written: localhost, with the port that is listened at.
    fn public_url(&mut self, listen: &[Listen], tls: TlsMode) -> Url {
        if let Some(url) = self.optional("public_url", values::origin) {
            return url;
        }
        let mut url = default("public_url", values::origin);
        if tls != TlsMode::Off {
            // http and https may take each other's place.
            let _ = url.set_scheme("https");
        }
        let port = listen.iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) => None,
        });
        // Only a URL without a host refuses a port.
        let _ = url.set_port(port.or(url.port()));
        self.derived("public_url", bare(&url), "listen");
        url
    }

    fn private_listen(&mut self) -> Vec<Listen> {
        let base = self.base("private_listen");
        self.optional("private_listen", |raw| values::listen(raw, &base)).unwrap_or_default()
    }

    /// Unless it is written: `public_url`, or where the people of the house have a listener of their own.
    fn private_url(&mut self, public_url: &Url, private_listen: &[Listen], tls: TlsMode) -> Url {
        if let Some(url) = self.optional("private_url", values::origin) {
            return url;
        }
        let private = private_listen.iter().find_map(|listen| match listen {
            Listen::Tcp(address) => Some(*address),
            Listen::Unix(_) => None,
        });
        let (url, from) = match private {
            Some(address) => (tls::url_of(address, public_url, tls), "private_listen"),
            None => (public_url.clone(), "public_url"),
        };
        self.derived("private_url", bare(&url), from);
        url
    }

    fn smartcar(&mut self, public_url: &Url) -> Smartcar {
        let v2 = self.credentials("smartcar.v2.client_id", "smartcar.v2.client_secret");
        let application_id = self.optional("smartcar.application_id", values::text).or_else(|| {
            let id = v2.as_ref()?.client_id.clone();
            self.derived("smartcar.application_id", id.clone(), "smartcar.v2.client_id");
            Some(id)
        });
        let redirect_uri = self.optional("smartcar.redirect_uri", values::callback).unwrap_or_else(|| {
            let mut uri = default("smartcar.redirect_uri", values::callback);
            let path = uri.path().to_owned();
            uri.clone_from(public_url);
            uri.set_path(&path);
            self.derived("smartcar.redirect_uri", uri.to_string(), "public_url");
            uri
        });
        Smartcar {
            application_id,
            v3: self.credentials("smartcar.v3.client_id", "smartcar.v3.client_secret"),
            v2,
            management_tokens: self.optional("smartcar.application_management_token", values::secrets).unwrap_or_default(),
            mode: self.take("smartcar.mode", values::mode),
            redirect_uri,
            redirect_uris: self.take("smartcar.redirect_uris", values::uris),
            scope: self.take("smartcar.scope", values::scope),
            single_select: self.take("smartcar.single_select", values::flag),
            webhook_id: self.optional("smartcar.webhook_id", values::text),
            origins: Origins {
                connect: self.take("smartcar.origins.connect", values::smartcar_origin),
                auth: self.take("smartcar.origins.auth", values::smartcar_origin),
                iam: self.take("smartcar.origins.iam", values::smartcar_origin),
                api: self.take("smartcar.origins.api", values::smartcar_origin),
                vehicle: self.take("smartcar.origins.vehicle", values::smartcar_origin),
                management: self.take("smartcar.origins.management", values::smartcar_origin),
                management_v3: self.take("smartcar.origins.management_v3", values::smartcar_origin),
            },
        }
    }

    fn credentials(&mut self, id: &'static str, secret: &'static str) -> Option<Credentials> {
        let client_id = self.optional(id, values::text);
        let client_secret = self.optional(secret, values::secret);
        // A secret that was written and refused has its mistake already.
        let (there, missing) = match (client_id, client_secret) {
            (Some(client_id), Some(client_secret)) => {
                let client_secret_file = self.collected.secret_file(secret);
                return Some(Credentials { client_id, client_secret, client_secret_file });
            }
            (Some(_), None) if !self.is_written(secret) => (id, secret),
            (None, Some(_)) if !self.is_written(id) => (secret, id),
            _ => return None,
        };
        let origin = self.origin(there);
        let remedy = format!("Set {missing} too");
        self.collected.mistake(there, origin, format!("is of no use without {missing}"), &remedy);
        None
    }

    fn webhooks(&mut self) -> Webhooks {
        Webhooks {
            path: self.take("webhooks.path", values::route),
            max_body: self.take("webhooks.max_body", values::bytes),
            keep_events: self.take("webhooks.keep_events", values::count),
            keep_bytes: self.take("webhooks.keep_bytes", values::bytes),
            dedupe_for: self.take("webhooks.dedupe_for", values::time),
            subscribe: self.take("webhooks.subscribe", values::auto),
        }
    }

    fn limits(&mut self) -> Limits {
        Limits {
            webhook_failures: self.take("limits.webhook_failures", values::rate),
            callback: self.take("limits.callback", values::rate),
            login: self.take("limits.login", values::rate),
            api: self.take("limits.api", values::rate),
            connections: usize::try_from(self.take("limits.connections", values::count)).unwrap_or(usize::MAX),
            header_time: self.take("limits.header_time", values::time),
            body_time: self.take("limits.body_time", values::time),
        }
    }

    fn key(&mut self, data_dir: &Path) -> super::Key {
        let base = self.base("key.file");
        let secret = self.optional("key.secret", values::secret);
        if secret.is_some() && matches!(self.origin("key.secret"), Origin::Variable(name) if !name.ends_with("_FILE")) {
            let warning = "CARPORT_KEY_SECRET: what starts Carport can show the environment to others; a systemd credential or \
                           CARPORT_KEY_SECRET_FILE keeps the master key to itself";
            self.collected.warnings.push(warning.to_owned());
        }
        let written = self.optional("key.file", |raw| values::path(raw, &base));
        if written.is_some() && secret.is_some() {
            let warning = "both key.secret and key.file are set: key.secret is used, the file is not";
            self.collected.warnings.push(warning.to_owned());
        }
        let file = written.unwrap_or_else(|| {
            let file = data_dir.join("master.key");
            self.derived("key.file", file.display().to_string(), "data_dir");
            file
        });
        super::Key { file, secret }
    }

    fn path(&mut self, key: &'static str) -> PathBuf {
        let base = self.base(key);
        self.take(key, |raw| values::path(raw, &base))
    }

    /// Where relative paths of a key's value count from.
    fn base(&self, key: &str) -> PathBuf {
        let written = self.collected.values.get(key).and_then(|written| written.origin.directory());
        self.directory.join(written.unwrap_or(Path::new("")))
    }

    /// The value of a key that has a default.
    fn take<T>(&mut self, key: &'static str, meaning: impl Fn(&Raw) -> Taken<T>) -> T {
        self.optional(key, &meaning).unwrap_or_else(|| default(key, meaning))
    }

    /// The value of a key, if it is written and can be taken.
    fn optional<T>(&mut self, key: &'static str, meaning: impl Fn(&Raw) -> Taken<T>) -> Option<T> {
        let written = self.collected.values.get(key)?;
        match meaning(&written.value) {
            Ok(value) => Some(value),
            Err(values::Wrong { wrong, remedy }) => {
                let origin = written.origin.clone();
                self.collected.mistake(key, origin, wrong, &remedy);
                None
            }
        }
    }

    fn is_written(&self, key: &str) -> bool {
        self.collected.values.contains_key(key)
    }

    fn origin(&self, key: &str) -> Origin {
        self.collected.values.get(key).map_or(Origin::Default, |written| written.origin.clone())
    }

    fn derived(&mut self, key: &'static str, value: String, from: &'static str) {
        self.derived.push((key, value, from));
    }

    fn fingerprint(&self, key: &Key) -> Fingerprint {
        let secret = self.collected.values.get(key.name).filter(|_| key.secret);
        let mut value = secret.map_or_else(|| self.shown(key).value, |written| print(&written.value));
        let fingerprint = Sha256::digest(&value).into();
        value.zeroize();
        fingerprint
    }

    fn shown(&self, key: &Key) -> Shown {
        let derived = self.derived.iter().find(|(derived, ..)| *derived == key.name);
        let (value, origin) = match (derived, self.collected.values.get(key.name)) {
            (Some((_, value, from)), _) => (value.clone(), format!("from {from}")),
            // SECURITY: the one place that prints values; a secret is told by the table, not by its looks.
            (None, Some(written)) if key.secret => ("***".to_owned(), written.origin.to_string()),
            (None, Some(written)) => (print(&written.value), written.origin.to_string()),
            (None, None) if key.sample == Sample::Default => {
                (SAMPLES.get(key.name).map(print).unwrap_or_default(), "default".to_owned())
            }
            (None, None) => (String::new(), "not set".to_owned()),
        };
        Shown { key: key.name, value, origin }
    }
}

/// The default of a key, as the example says it.
fn default<T>(key: &str, meaning: impl Fn(&Raw) -> Taken<T>) -> T {
    let taken = SAMPLES.get(key).map(meaning);
    // The example is part of the binary, and a test loads it.
    taken.and_then(Result::ok).expect("the example has a good line for every key with a default")
}

fn print(raw: &Raw) -> String {
    match raw {
        Raw::Text(text) => text.clone(),
        Raw::Integer(number) => number.to_string(),
        Raw::Bool(value) => value.to_string(),
        Raw::List(items) => items.iter().map(print).collect::<Vec<_>>().join(", "),
        Raw::Other(kind) => (*kind).to_owned(),
    }
}

/// An origin without the slash at its end, as people write it.
fn bare(url: &Url) -> String {
    url.as_str().trim_end_matches('/').to_owned()
}
