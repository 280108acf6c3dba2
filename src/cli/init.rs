//! `carport init`: asks for each value by its name in Smartcar's dashboard, checks it at once, and writes
//! `config.toml` with its secret files. Values are checked by the configuration's own rules.

use std::path::{Path, PathBuf};

use url::{Host, Url};

use self::files::Written;
use super::args::{Common, Init};
use super::print::{ask, say};
use super::wiring::Probe;
use super::{Exit, Failure, Place, hidden};
use crate::config::{Config, ConfigFile, Credentials, Mistakes, Origins, Overrides, Sources, load};
use crate::model::Secret;

mod files;
mod system;

/// Smartcar's most common mix-up, which its errors do not name.
const ONE_FOR_TWO: &str = "that is an Application ID; the Client ID is another value and begins with client_. For an older \
    application that has none, leave the Application ID out and give it as the Client ID";

/// Where https is listened for by default.
const HTTPS: &str = "[::]:443";

/// What was told, checked.
#[derive(Debug, Default)]
struct Answers {
    public_url: String,
    application_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    management_token: Option<Secret>,
    mode: Option<String>,
    tls: Option<String>,
    acme_email: Option<String>,
    trusted_proxy: Option<String>,
}

impl Answers {
    /// The section that the client id belongs to.
    fn section(&self) -> &'static str {
        if self.client_id.as_ref().is_none_or(|id| id.starts_with("client_")) { "smartcar.v3" } else { "smartcar.v2" }
    }

    /// Where Carport is to listen, unless as by default.
    fn listen(&self) -> Option<String> {
        let url = Url::parse(&self.public_url).ok()?;
        match (self.tls.as_deref()?, url.host()?) {
            ("acme", _) => Some(HTTPS.to_owned()),
            // Whom nobody else reaches need not listen for others.
            ("self-signed", Host::Domain("localhost")) => Some(format!("127.0.0.1:{}", url.port_or_known_default()?)),
            ("self-signed", Host::Ipv4(ip)) if ip.is_loopback() => Some(format!("{ip}:{}", url.port_or_known_default()?)),
            ("self-signed", Host::Ipv6(ip)) if ip.is_loopback() => Some(format!("[{ip}]:{}", url.port_or_known_default()?)),
            ("self-signed", _) => Some(format!("[::]:{}", url.port_or_known_default()?)),
            _ => None,
        }
    }

    /// Whether Carport is to take the ports of http and https.
    fn takes_ports(&self) -> bool {
        self.listen().as_deref() == Some(HTTPS)
    }

    /// What nobody but `init` would find wrong with the public URL.
    fn complaint(&self, system: bool) -> Option<String> {
        let port = self.listen().and_then(|listen| listen.rsplit(':').next()?.parse::<u16>().ok());
        if matches!(self.tls.as_deref(), Some("acme" | "self-signed")) && self.public_url.starts_with("http:") {
            return Some("with a certificate it begins with https://, such as https://cars.example.org".to_owned());
        }
        let is_barred = port.is_some_and(|port| port < 1024 && !self.takes_ports());
        (system && is_barred).then(|| {
            "below 1024 the service can have port 443 alone; leave the port out, or write one above, such as :8443".to_owned()
        })
    }

    /// What can be tried at Smartcar: client credentials.
    fn credentials(&self) -> Option<Credentials> {
        let client_id = self.client_id.clone().filter(|id| id.starts_with("client_"))?;
        Some(Credentials { client_id, client_secret: self.client_secret.clone()?, client_secret_file: None })
    }
}

/// Runs the command. `probe` tries client credentials at Smartcar.
pub(super) async fn init(
    flags: Init,
    common: &Common,
    place: &Place,
    probe: impl AsyncFn(&Credentials, &Origins) -> Probe,
) -> Result<(), Failure> {
    let target = match (&common.config, flags.system) {
        (Some(path), _) => place.directory.join(path),
        (None, true) => PathBuf::from(system::CONFIGURATION),
        (None, false) => place.directory.join("config.toml"),
    };
    if !flags.non_interactive && !place.can_ask {
        return Err(Failure::new(Exit::Usage, "nobody is here to answer: say --non-interactive and give the values by flags"));
    }
    if flags.system {
        system::refuse_other_places(common.config.as_deref(), common.data_dir.as_deref())?;
        system::refuse_others()?;
    }
    files::refuse_to_overwrite(&target, flags.force)?;
    // Only the environment: it may name a simulator in Smartcar's place.
    let surroundings =
        load(&Sources { environment: place.environment.clone(), directory: place.directory.clone(), ..Sources::default() })?;
    let answers = if flags.non_interactive {
        let (answers, wrong) = given(&flags, place)?;
        tell(wrong, whole(&answers).err())?;
        if let Some(credentials) = answers.credentials().filter(|_| !flags.offline) {
            match probe(&credentials, &surroundings.smartcar.origins).await {
                Probe::Good => {}
                Probe::Refused(why) => {
                    return Err(Failure::new(Exit::Failed, format!("Smartcar refuses the client id and secret: {why}")));
                }
                Probe::Unreachable(why) | Probe::TooOften(why) => {
                    let sentence = format!("Smartcar cannot be asked: {why}. Say --offline to go on without");
                    return Err(Failure::new(Exit::Unreachable, sentence));
                }
            }
        }
        answers
    } else {
        asked(&flags, place, &surroundings.smartcar.origins, probe).await?
    };
    let data_dir = match (&common.data_dir, flags.system) {
        (Some(path), _) => Some(place.directory.join(path)),
        (None, true) => Some(PathBuf::from(system::DATA)),
        (None, false) => None,
    };
    whole(&answers)?;
    let written = files::write(&target, &answers, data_dir.as_deref(), flags.system)?;
    // What was written must be what serve will read.
    let file = ConfigFile::At(target.clone());
    let config = load(&Sources { file, directory: place.directory.clone(), ..Sources::default() })?;
    let left = if flags.system {
        system::install(&written.directory, answers.takes_ports(), flags.force)?
    } else {
        let named = common.config.as_ref().map(|path| format!(" --config {}", quoted(&path.to_string_lossy())));
        vec![format!("carport serve{}", named.unwrap_or_default())]
    };
    report(&config, &target, &written, &left)?;
    if answers.tls.as_deref() == Some("self-signed") {
        eprintln!(
            "Smartcar's webhooks do not come to a certificate of Carport's own making: they need one that the world trusts."
        );
    }
    Ok(())
}

fn report(config: &Config, target: &Path, written: &Written, left: &[String]) -> Result<(), Failure> {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let webhook = config.public_url.join(&config.webhooks.path).unwrap_or_else(|_| config.public_url.clone());
    let secrets = match written.secrets {
        0 => String::new(),
        secrets => format!(", and {secrets} secret files (mode 0600)"),
    };
    say(&format!("Wrote {}{secrets}.", target.display()))?;
    for name in &written.removed {
        say(&format!("Removed the old secret {}.", written.directory.join(name).display()))?;
    }
    say("\nEnter these two in Smartcar's dashboard (dashboard.smartcar.com):")?;
    say(&format!("  Redirect URI:          {}", config.smartcar.redirect_uri))?;
    say(&format!("  Webhook callback URI:  {webhook}"))?;
    if webhook.scheme() != "https" {
        say(
            "  (Smartcar sends webhooks to https only: give Carport a certificate by tls.mode, or put a proxy before it, and set public_url.)",
        )?;
    }
    say("\nThen:")?;
    left.iter().try_for_each(|command| say(&format!("  {command}")))
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-/~".contains(&byte));
    if is_plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// The values of the flags, and what is wrong with them by themselves.
fn given(flags: &Init, place: &Place) -> Result<(Answers, Vec<String>), Failure> {
    let is_input = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_input(&flags.client_secret_file) && is_input(&flags.application_management_token_file) {
        let sentence =
            "standard input holds one secret: --client-secret-file and --application-management-token-file cannot both be -";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let mut wrong = Vec::new();
    let mut secret = |path: &Option<PathBuf>| {
        let read = path.as_deref().map(|path| files::read_secret(path, place)).transpose();
        read.unwrap_or_else(|failure| {
            wrong.push(failure.to_string());
            None
        })
    };
    let (client_secret, management_token) = (secret(&flags.client_secret_file), secret(&flags.application_management_token_file));
    let here = if flags.tls.as_deref() == Some("self-signed") { "https://localhost:8000" } else { "http://localhost:8000" };
    let answers = Answers {
        public_url: flags.public_url.clone().unwrap_or_else(|| here.to_owned()),
        application_id: flags.application_id.clone(),
        client_id: flags.client_id.clone(),
        client_secret,
        management_token,
        mode: flags.mode.clone(),
        tls: flags.tls.clone(),
        acme_email: flags.acme_email.clone(),
        trusted_proxy: flags.trusted_proxy.clone(),
    };
    let application_id = answers.application_id.as_deref();
    let wrong_id = application_id.and_then(|id| application_id_fits(id).err());
    wrong.extend(wrong_id.map(|wrong| format!("--application-id: {wrong}")));
    let wrong_id = answers.client_id.as_deref().and_then(|id| client_id_fits(id, application_id).err());
    wrong.extend(wrong_id.map(|wrong| format!("--client-id: {wrong}")));
    if flags.client_id.is_some() != flags.client_secret_file.is_some() {
        wrong.push("--client-id and --client-secret-file belong together".to_owned());
    }
    // What is still to be asked for is looked at then.
    let complaint = answers.complaint(flags.system).filter(|_| flags.public_url.is_some() || flags.non_interactive);
    wrong.extend(complaint.map(|wrong| format!("--public-url: {wrong}")));
    Ok((answers, wrong))
}

/// Tells of all that is wrong at once.
fn tell(mut wrong: Vec<String>, mistakes: Option<Mistakes>) -> Result<(), Failure> {
    if wrong.is_empty() {
        return mistakes.map_or(Ok(()), |mistakes| Err(mistakes.into()));
    }
    wrong.extend(mistakes.into_iter().flat_map(|mistakes| mistakes.0).map(|mistake| mistake.to_string()));
    let sentence = match wrong.as_slice() {
        [one] => one.clone(),
        all => format!("{} things are wrong:\n  {}", all.len(), all.join("\n  ")),
    };
    Err(Failure::new(Exit::Usage, sentence))
}

/// Whether the configuration would take these together.
fn whole(answers: &Answers) -> Result<(), Mistakes> {
    let listen = answers.listen();
    let given = [
        ("public_url", Some(&answers.public_url), "--public-url"),
        ("listen", listen.as_ref(), "--public-url"),
        ("smartcar.mode", answers.mode.as_ref(), "--mode"),
        ("tls.mode", answers.tls.as_ref(), "--tls"),
        ("tls.acme.email", answers.acme_email.as_ref(), "--acme-email"),
        ("trusted_proxies", answers.trusted_proxy.as_ref(), "--trusted-proxy"),
    ];
    let overrides = given.into_iter().filter_map(|(key, value, flag)| Some((key, value?, flag)));
    let overrides = overrides.fold(Overrides::default(), |all, (key, value, flag)| all.set(key, value, flag));
    load(&Sources { overrides, directory: PathBuf::from("/"), ..Sources::default() }).map(drop)
}

fn application_id_fits(id: &str) -> Result<(), String> {
    match uuid::Uuid::try_parse(id) {
        Ok(_) => Ok(()),
        Err(_) if id.starts_with("client_") => Err("that is the Client ID; the Application ID is a UUID".to_owned()),
        Err(_) => Err("that is not a UUID like 8229df9f-91a0-4ff0-a1ae-a1f38ee24d07".to_owned()),
    }
}

/// An older application has one id for both, which is given once.
fn client_id_fits(id: &str, application_id: Option<&str>) -> Result<(), String> {
    match (uuid::Uuid::try_parse(id), application_id) {
        _ if id.starts_with("client_") => Ok(()),
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(_)) => Err(ONE_FOR_TWO.to_owned()),
        (Err(_), _) => Err("that is no Client ID: it begins with client_, or is a UUID in an older application".to_owned()),
    }
}

/// Whether the configuration would take this value.
fn checked(key: &str, value: &str, origin: &str) -> Result<(), Mistakes> {
    let overrides = Overrides::default().set(key, value, origin);
    load(&Sources { overrides, directory: PathBuf::from("/"), ..Sources::default() }).map(drop)
}

/// Asks for everything that no flag gave.
async fn asked(
    flags: &Init,
    place: &Place,
    origins: &Origins,
    probe: impl AsyncFn(&Credentials, &Origins) -> Probe,
) -> Result<Answers, Failure> {
    eprintln!("The names are those of Smartcar's dashboard (dashboard.smartcar.com). Enter leaves a value for later.\n");
    let (mut answers, wrong) = given(flags, place)?;
    let flagged = [("public_url", &flags.public_url, "--public-url"), ("smartcar.mode", &flags.mode, "--mode")];
    let mistakes = flagged.into_iter().filter_map(|(key, value, flag)| checked(key, value.as_ref()?, flag).err());
    let mistakes: Vec<_> = mistakes.flat_map(|mistakes| mistakes.0).collect();
    tell(wrong, Some(Mistakes(mistakes)).filter(|mistakes| !mistakes.0.is_empty()))?;
    if flags.public_url.is_none() {
        let fits = |url: &str| {
            checked("public_url", url, "this address").map_err(|failure| failure.to_string())?;
            let told = Answers { public_url: url.to_owned(), tls: answers.tls.clone(), ..Answers::default() };
            told.complaint(flags.system).map_or(Ok(()), Err)
        };
        let usual = Some(&answers.public_url).filter(|url| fits(url).is_ok());
        let shown = usual.map_or_else(String::new, |url| format!("\n  [{url}]"));
        let question = format!("Where browsers and Smartcar will reach Carport, such as https://cars.example.org{shown}: ");
        answers.public_url = loop {
            match until_good(&question, fits)?.or_else(|| usual.cloned()) {
                Some(url) => break url,
                None => eprintln!("  without it there is no certificate"),
            }
        };
    }
    if answers.tls.is_none() && answers.trusted_proxy.is_none() && answers.public_url.starts_with("https:") {
        ask_for_tls(&mut answers)?;
    }
    if flags.application_id.is_none() {
        answers.application_id = until_good("Application ID (a UUID): ", |id| {
            application_id_fits(id)?;
            answers.client_id.as_deref().map_or(Ok(()), |client_id| client_id_fits(client_id, Some(id)))
        })?;
    }
    // What the flags gave is tried first.
    loop {
        if answers.client_id.is_none() {
            let fits = |id: &str| client_id_fits(id, answers.application_id.as_deref());
            let Some(id) = until_good("Client ID (begins with client_): ", fits)? else { break };
            let Some(secret) = hidden::ask("Client Secret (not shown): ")? else { continue };
            (answers.client_id, answers.client_secret) = (Some(id), Some(secret));
        }
        let Some(credentials) = answers.credentials().filter(|_| !flags.offline) else { break };
        match probe(&credentials, origins).await {
            Probe::Good => {
                eprintln!("  Smartcar takes the client ID and secret.");
                break;
            }
            Probe::Unreachable(why) | Probe::TooOften(why) => {
                eprintln!("  not tried, Smartcar cannot be asked: {why}");
                break;
            }
            Probe::Refused(why) => {
                eprintln!("  Smartcar refuses the client ID and secret: {why}");
                (answers.client_id, answers.client_secret) = (None, None);
            }
        }
    }
    if answers.management_token.is_none() {
        answers.management_token = hidden::ask("Application Management Token (not shown): ")?;
    }
    Ok(answers)
}

/// Where https comes from.
fn ask_for_tls(answers: &mut Answers) -> Result<(), Failure> {
    let question = "Who speaks https: Carport, with a certificate from Let's Encrypt (ports 80 and 443), or a proxy before it?\n  \
                    carport or proxy [carport]: ";
    let known = |answer: &str| match answer {
        "carport" | "proxy" => Ok(()),
        _ => Err("write carport or proxy".to_owned()),
    };
    if until_good(question, known)?.as_deref() == Some("proxy") {
        let fits = |address: &str| checked("trusted_proxies", address, "this address").map_err(|failure| failure.to_string());
        let told = until_good("The address that the proxy comes from [127.0.0.1]: ", fits)?;
        answers.trusted_proxy = Some(told.unwrap_or_else(|| "127.0.0.1".to_owned()));
    } else {
        answers.tls = Some("acme".to_owned());
        let (public_url, tls) = (answers.public_url.clone(), answers.tls.clone());
        let fits = |address: &str| {
            let (public_url, tls) = (public_url.clone(), tls.clone());
            whole(&Answers { public_url, tls, acme_email: Some(address.to_owned()), ..Answers::default() })
                .map_err(|mistakes| mistakes.to_string())
        };
        answers.acme_email =
            until_good("E-mail address for Let's Encrypt, whose terms you agree to by this (Enter for none): ", fits)?;
    }
    Ok(())
}

/// Asks until the answer is good; nothing is an answer too.
fn until_good(question: &str, check: impl Fn(&str) -> Result<(), String>) -> Result<Option<String>, Failure> {
    loop {
        let answer = ask(question)?;
        if answer.is_empty() {
            return Ok(None);
        }
        match check(&answer) {
            Ok(()) => return Ok(Some(answer)),
            Err(wrong) => eprintln!("  {wrong}"),
        }
    }
}
