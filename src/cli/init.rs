//! `carport init`: asks for each value by its name in Smartcar's dashboard, checks it at once, and writes
//! `config.toml` with its secret files. Values are checked by the configuration's own rules.

use std::path::{Path, PathBuf};

use super::args::{Common, Init};
use super::print::{ask, say};
use super::wiring::Probe;
use super::{Exit, Failure, Place, hidden};
use crate::config::{Config, ConfigFile, Credentials, Origins, Overrides, Sources, load};
use crate::model::Secret;

mod files;

/// Smartcar's most common mix-up, which its errors do not name.
const ONE_FOR_TWO: &str = "that is the Application ID; the Client ID is another value and begins with client_. For an older \
    application that has none, leave the Application ID out and give it as the Client ID";

/// What was told, checked.
#[derive(Debug, Default)]
struct Answers {
    public_url: String,
    application_id: Option<String>,
    client_id: Option<String>,
    client_secret: Option<Secret>,
    management_token: Option<Secret>,
    mode: Option<String>,
}

impl Answers {
    /// The section that the client id belongs to.
    fn section(&self) -> &'static str {
        if self.client_id.as_ref().is_none_or(|id| id.starts_with("client_")) { "smartcar.v3" } else { "smartcar.v2" }
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
        (None, true) => PathBuf::from("/etc/carport/config.toml"),
        (None, false) => place.directory.join("config.toml"),
    };
    if !flags.non_interactive && !place.can_ask {
        return Err(Failure::new(Exit::Usage, "nobody is here to answer: say --non-interactive and give the values by flags"));
    }
    files::refuse_to_overwrite(&target, flags.force)?;
    // Only the environment: it may name a simulator in Smartcar's place.
    let surroundings =
        load(&Sources { environment: place.environment.clone(), directory: place.directory.clone(), ..Sources::default() })?;
    let answers = if flags.non_interactive {
        let answers = given(&flags, place)?;
        if let Some(credentials) = answers.credentials().filter(|_| !flags.offline) {
            match probe(&credentials, &surroundings.smartcar.origins).await {
                Probe::Good => {}
                Probe::Refused(why) => {
                    return Err(Failure::new(Exit::Failed, format!("Smartcar refuses the client id and secret: {why}")));
                }
                Probe::Unreachable(why) => {
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
        (None, true) => Some(PathBuf::from("/var/lib/carport")),
        (None, false) => None,
    };
    let written = files::write(&target, &answers, data_dir.as_deref(), flags.system)?;
    // What was written must be what serve will read.
    let file = ConfigFile::At(target.clone());
    let config = load(&Sources { file, directory: place.directory.clone(), ..Sources::default() })?;
    report(&config, &target, written, flags.system)
}

fn report(config: &Config, target: &Path, secrets: usize, system: bool) -> Result<(), Failure> {
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let webhook = config.public_url.join(&config.webhooks.path).unwrap_or_else(|_| config.public_url.clone());
    say(&format!("Wrote {} and {secrets} secret files (mode 0600).", target.display()))?;
    say("\nEnter these two in Smartcar's dashboard (dashboard.smartcar.com):")?;
    say(&format!("  Redirect URI:          {}", config.smartcar.redirect_uri))?;
    say(&format!("  Webhook callback URI:  {webhook}"))?;
    if webhook.scheme() != "https" {
        say(
            "  (Smartcar sends webhooks to https only: give Carport a certificate by tls.mode, or put a proxy before it, and set public_url.)",
        )?;
    }
    // Root would leave files behind that the service could not use.
    let command =
        if system { "start the service, as the README tells: sudo systemctl enable --now carport" } else { "carport serve" };
    say(&format!("\nThen: {command}"))
}

/// The values of the flags.
fn given(flags: &Init, place: &Place) -> Result<Answers, Failure> {
    let is_input = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    if is_input(&flags.client_secret_file) && is_input(&flags.application_management_token_file) {
        let sentence =
            "standard input holds one secret: --client-secret-file and --application-management-token-file cannot both be -";
        return Err(Failure::new(Exit::Usage, sentence));
    }
    let answers = Answers {
        public_url: flags.public_url.clone().unwrap_or_else(|| "http://localhost:8000".to_owned()),
        application_id: flags.application_id.clone(),
        client_id: flags.client_id.clone(),
        client_secret: flags.client_secret_file.as_deref().map(|path| files::read_secret(path, place)).transpose()?,
        management_token: flags
            .application_management_token_file
            .as_deref()
            .map(|path| files::read_secret(path, place))
            .transpose()?,
        mode: flags.mode.clone(),
    };
    if answers.client_id.is_some() && answers.client_id == answers.application_id {
        return Err(Failure::new(Exit::Usage, format!("--client-id: {ONE_FOR_TWO}")));
    }
    if answers.client_id.is_some() != answers.client_secret.is_some() {
        return Err(Failure::new(Exit::Usage, "--client-id and --client-secret-file belong together"));
    }
    let checks = [
        ("public_url", Some(&answers.public_url), "--public-url"),
        ("smartcar.application_id", answers.application_id.as_ref(), "--application-id"),
        ("smartcar.mode", answers.mode.as_ref(), "--mode"),
    ];
    for (key, value, flag) in checks {
        if let Some(value) = value {
            checked(key, value, flag)?;
        }
    }
    Ok(answers)
}

/// Whether the configuration would take this value.
fn checked(key: &str, value: &str, origin: &str) -> Result<(), Failure> {
    let overrides = Overrides::default().set(key, value, origin);
    load(&Sources { overrides, directory: PathBuf::from("/"), ..Sources::default() })?;
    Ok(())
}

/// Asks for everything that no flag gave.
async fn asked(
    flags: &Init,
    place: &Place,
    origins: &Origins,
    probe: impl AsyncFn(&Credentials, &Origins) -> Probe,
) -> Result<Answers, Failure> {
    eprintln!("The names are those of Smartcar's dashboard (dashboard.smartcar.com). Enter leaves a value for later.\n");
    let mut answers = given(flags, place)?;
    if flags.public_url.is_none() {
        let question =
            "Where browsers and Smartcar will reach Carport, such as https://cars.example.org\n  [http://localhost:8000]: ";
        let told = until_good(question, |url| checked("public_url", url, "this address").map_err(|failure| failure.to_string()))?;
        answers.public_url = told.unwrap_or(answers.public_url);
    }
    if flags.application_id.is_none() {
        answers.application_id = until_good("Application ID (a UUID): ", |id| match uuid::Uuid::try_parse(id) {
            Ok(_) if answers.client_id.as_deref() == Some(id) => Err(ONE_FOR_TWO.to_owned()),
            Ok(_) => Ok(()),
            Err(_) if id.starts_with("client_") => Err("that is the Client ID; the Application ID is a UUID".to_owned()),
            Err(_) => Err("that is not a UUID like 8229df9f-91a0-4ff0-a1ae-a1f38ee24d07".to_owned()),
        })?;
    }
    // What the flags gave is tried first.
    loop {
        if answers.client_id.is_none() {
            let is_another = |id: &str| match &answers.application_id {
                Some(other) if other == id => Err(ONE_FOR_TWO.to_owned()),
                _ => Ok(()),
            };
            let Some(id) = until_good("Client ID (begins with client_): ", is_another)? else { break };
            let Some(secret) = hidden::ask("Client Secret (not shown): ")? else { continue };
            (answers.client_id, answers.client_secret) = (Some(id), Some(secret));
        }
        let Some(credentials) = answers.credentials().filter(|_| !flags.offline) else { break };
        match probe(&credentials, origins).await {
            Probe::Good => {
                eprintln!("  Smartcar takes the client ID and secret.");
                break;
            }
            Probe::Unreachable(why) => {
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
