//! `init`: what it asks for, tries and writes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::super::args::Command;
use super::super::wiring::Probe;
use super::super::*;
use super::{Directory, parse};

const INIT: &str = "init --non-interactive --public-url https://cars.example.org --application-id 8229df9f-91a0-4ff0-a1ae-a1f38ee24d07 \
                    --client-id client_1 --client-secret-file told-secret --application-management-token-file told-amt";

const AMT: &str = "4c0c1a2e-0000-4000-8000-000000000000";

async fn init(line: &str, place: &Place, probe: Probe) -> Result<(), Failure> {
    let cli = parse(line);
    let Command::Init(flags) = cli.command else { panic!("{line}") };
    init::init(flags, &cli.common, place, async |_: &_, _: &_| probe.clone()).await
}

fn told() -> Directory {
    let directory = Directory::new();
    fs::write(directory.0.join("told-secret"), "s3cret\n").unwrap();
    fs::write(directory.0.join("told-amt"), AMT).unwrap();
    directory
}

#[tokio::test]
async fn init_writes_what_serve_reads() {
    let directory = told();
    let place = directory.place();
    init(INIT, &place, Probe::Good).await.unwrap();
    let mode = |name: &str| fs::metadata(directory.0.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("config.toml"), 0o600);
    assert_eq!(mode("secrets/smartcar.v3.client_secret"), 0o600);
    assert_eq!(mode("secrets/smartcar.application_management_token"), 0o600);
    let config = place.config(&args::Common::default()).unwrap();
    assert_eq!(config.warnings, [""; 0]);
    assert_eq!(config.smartcar.v3.as_ref().unwrap().client_secret.expose(), "s3cret");
    assert_eq!(config.smartcar.management_tokens[0].expose(), AMT);
    assert_eq!(config.smartcar.redirect_uri.as_str(), "https://cars.example.org/api/smartcar/callback");
    let text = fs::read_to_string(directory.0.join("config.toml")).unwrap();
    assert!(!text.contains("s3cret"), "{text}");

    let failure = init(INIT, &place, Probe::Good).await.unwrap_err();
    assert!(failure.to_string().ends_with("is there already: say --force to replace it"), "{failure}");
    init(&format!("{INIT} --force --mode simulated"), &place, Probe::Good).await.unwrap();
    assert_eq!(place.config(&args::Common::default()).unwrap().smartcar.mode, crate::config::Mode::Simulated);

    // What is not named any more is not left lying about.
    let other = "init --non-interactive --force --public-url https://cars.example.org --tls acme --acme-email me@example.org \
                 --client-id 8229df9f-91a0-4ff0-a1ae-a1f38ee24d07 --client-secret-file told-secret";
    init(other, &place, Probe::Good).await.unwrap();
    let left: Vec<_> = fs::read_dir(directory.0.join("secrets")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["smartcar.v2.client_secret"]);
    let config = place.config(&args::Common::default()).unwrap();
    assert_eq!(config.listen, [crate::config::Listen::Tcp("[::]:443".parse().unwrap())]);
    assert!(config.tls.is_some() && config.http_listen.is_some());

    // What does not fit together is told before anything is written.
    for flags in ["--tls acme --public-url https://192.168.1.5", "--trusted-proxy proxy", "--tls on"] {
        let failure = init(&format!("init --non-interactive --force {flags}"), &place, Probe::Good).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Configuration, "{failure}");
    }
    assert!(place.config(&args::Common::default()).unwrap().tls.is_some());
}

#[tokio::test]
async fn init_writes_nothing_that_smartcar_refuses() {
    let directory = told();
    let place = directory.place();
    let refused = init(INIT, &place, Probe::Refused("invalid_client".to_owned())).await.unwrap_err();
    assert_eq!(refused.exit, Exit::Failed);
    let unreachable = init(INIT, &place, Probe::Unreachable("no route".to_owned())).await.unwrap_err();
    assert_eq!(unreachable.exit, Exit::Unreachable);
    assert!(!directory.0.join("config.toml").exists());
    init(&format!("{INIT} --offline"), &place, Probe::Unreachable(String::new())).await.unwrap();
}

#[tokio::test]
async fn init_checks_what_it_is_told() {
    let directory = told();
    let place = directory.place();
    let failure =
        init("init --non-interactive --public-url cars.example.org --mode life", &place, Probe::Good).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Configuration);
    let failure = init("init --non-interactive --client-id client_1", &place, Probe::Good).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let both = "init --non-interactive --client-id client_1 --client-secret-file - --application-management-token-file -";
    let failure = init(both, &place, Probe::Good).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.to_string().contains("--client-secret-file and --application-management-token-file"), "{failure}");
    let failure = init("init", &place, Probe::Good).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);

    // An older application has one id: what is one value is given once.
    let id = "8229df9f-91a0-4ff0-a1ae-a1f38ee24d07";
    let once = format!("init --non-interactive --client-id {id} --client-secret-file told-secret");
    let failure = init(&format!("{once} --application-id {id}"), &place, Probe::Good).await.unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.to_string().contains("that is an Application ID"), "{failure}");
    init(&once, &place, Probe::Good).await.unwrap();
    for (flags, wrong) in [
        (
            format!("--client-id {id} --client-secret-file told-secret --application-id 4c0c1a2e-0000-4000-8000-000000000000"),
            "begins with client_",
        ),
        ("--client-id abc --client-secret-file told-secret".to_owned(), "that is no Client ID"),
        ("--application-id client_1".to_owned(), "that is the Client ID"),
        ("--application-id abc".to_owned(), "that is not a UUID"),
    ] {
        let failure = init(&format!("init --non-interactive --force {flags}"), &place, Probe::Good).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.to_string().contains(wrong), "{failure}");
    }
    let config = place.config(&args::Common::default()).unwrap();
    assert_eq!(config.smartcar.application_id.as_deref(), Some(id));
    assert!(config.smartcar.v2.is_some());
}
