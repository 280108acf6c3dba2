//! What is refused, with which exit code and words; and that nothing is changed by it.

use std::net::TcpListener;
use std::os::unix::process::CommandExt;

use redb::{Database, TableDefinition};

use super::process::{Home, Program, Ran, SERVE, Server, chmod, files};

#[tokio::test]
async fn all_mistakes_of_a_configuration_are_told_at_once() {
    let home = Home::new();
    home.write(
        "config.toml",
        "public_url = \"https://cars.example.org/path\"\nlisten = \"everywhere\"\n\n[smartcar]\nmode = \"imaginary\"\n\n\
         [webhooks]\nmax_body = \"plenty\"\n\n[refresh]\naccess_margin = \"soon\"\n",
    );
    let ran = refused(&home, SERVE_AS_IT_IS, 64).await;
    assert!(ran.complaint().contains("there are 5 mistakes in the configuration:"), "{ran:?}");
    for (key, line) in
        [("public_url", 1), ("listen", 2), ("smartcar.mode", 5), ("webhooks.max_body", 8), ("refresh.access_margin", 11)]
    {
        let origin = format!("  {key} ({}:{line}): ", home.path("config.toml").display());
        let complaint = ran.complaint();
        let told = complaint.lines().find_map(|told| told.strip_prefix(&origin));
        let (wrong, remedy) = told.unwrap_or_else(|| panic!("{origin:?} in {complaint}")).split_once(". ").unwrap();
        assert!(!wrong.is_empty() && remedy.len() > 10, "{told:?}");
    }
    assert!(!home.data().exists(), "a data directory was made all the same");
}

#[tokio::test]
async fn what_is_misspelt_is_named_with_what_was_meant() {
    let home = Home::new();
    home.write("config.toml", "[webhooks]\nmax_bdy = \"1KiB\"\n");
    let mut command = home.command(SERVE);
    command.env("CARPORT_WEBHOOKS_MAXBODY", "1KiB").env("CARPORT_PORT", "tcp://10.0.0.1:80");
    let ran = Program::start(command).end().await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert!(ran.complaint().contains("there are 2 mistakes"), "{ran:?}");
    assert!(ran.complaint().contains("webhooks.max_bdy"), "{ran:?}");
    assert!(ran.complaint().contains("Did you mean webhooks.max_body?"), "{ran:?}");
    assert!(ran.complaint().contains("Did you mean CARPORT_WEBHOOKS_MAX_BODY?"), "{ran:?}");
    assert!(!ran.complaint().contains("CARPORT_PORT"), "{ran:?}");
    let ran = refused(&home, &["serve", "--config", "elsewhere.toml"], 64).await;
    assert!(ran.complaint().contains("elsewhere.toml"), "{ran:?}");
}

#[tokio::test]
async fn a_secret_is_never_repeated() {
    let home = Home::new();
    home.write("config.toml", "[smartcar]\napplication_management_token = [\"canary-1\", 7]\n[smartcar.v3]\nclient_secret = \"canary-2\"\n[key]\nsecret = \"canary-3\"\n");
    let ran = home.run(SERVE).await;
    assert!(matches!(ran.code, Some(64 | 65)), "{ran:?}");
    assert!(!ran.stderr.contains("canary"), "{ran:?}");
}

#[tokio::test]
async fn another_key_opens_nothing_and_changes_nothing() {
    let (home, other) = (Home::new(), Home::new());
    home.token().await;
    other.token().await;
    std::fs::copy(other.key(), home.key()).unwrap();
    chmod(&home.key(), 0o600);
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("the store was sealed under master key"), "{ran:?}");
    assert!(ran.complaint().contains("carport.redb"), "{ran:?}");

    // The same the other way round: a store of another key.
    std::fs::copy(home.store(), other.store()).unwrap();
    std::fs::copy(home.key(), other.path("kept.key")).unwrap();
    other.run(&["token", "list"]).await;
    std::fs::write(other.key(), "a text that is no key\n").unwrap();
    let ran = unchanged(&other, 65).await;
    assert!(ran.complaint().contains("master.key"), "{ran:?}");

    std::fs::remove_file(home.key()).unwrap();
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("is missing, but there is a store"), "{ran:?}");
    assert!(!home.key().exists(), "a new key was made, which can open nothing");
}

#[tokio::test]
async fn a_store_of_another_key_is_left_alone() {
    let (home, other) = (Home::new(), Home::new());
    home.token().await;
    other.token().await;
    std::fs::copy(other.store(), home.store()).unwrap();
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("put the right key in place"), "{ran:?}");
}

#[tokio::test]
async fn what_is_no_store_is_refused_and_kept() {
    let home = Home::new();
    home.token().await;
    let whole = std::fs::read(home.store()).unwrap();
    let (empty, zeros, garbage) = (Vec::new(), vec![0; 1_056_768], b"SQLite format 3\0 and so on".repeat(300));
    let (cut, mut scratched) = (whole[..5000].to_vec(), whole.clone());
    scratched[..9].fill(0);
    for (what, bytes) in
        [("empty", empty), ("zeros", zeros), ("foreign", garbage), ("cut off", cut), ("without its first bytes", scratched)]
    {
        std::fs::write(home.store(), &bytes).unwrap();
        let journals = ["carport.journal-a", "carport.journal-b"].map(|name| home.data().join(name));
        let kept = journals.clone().map(|journal| std::fs::read(journal).unwrap());
        for journal in &journals {
            std::fs::remove_file(journal).unwrap();
        }
        let ran = unchanged(&home, 65).await;
        assert!(ran.complaint().contains("carport.redb"), "{what}: {ran:?}");
        assert_eq!(ran.complaint().lines().count(), 1, "{what}: {ran:?}");

        // With its journal, the store comes back, and the file is kept for whoever looks what happened to it.
        for (journal, bytes) in journals.iter().zip(kept) {
            std::fs::write(journal, bytes).unwrap();
        }
        let listed = home.done(&["token", "list"]).await;
        assert!(listed.contains("test"), "{what}: {listed}");
        let mut names = std::fs::read_dir(home.data()).unwrap().map(|entry| entry.unwrap().path());
        let aside = names.find(|path| path.to_string_lossy().contains("redb.damaged-")).expect(what);
        assert!(std::fs::read(&aside).unwrap() == bytes, "{what}: the damaged file was changed");
        std::fs::remove_file(aside).unwrap();
    }
    std::fs::write(home.store(), whole).unwrap();
    home.done(&["token", "list"]).await;
}

#[tokio::test]
async fn one_journal_is_enough_to_save_a_store_with() {
    let journals = ["carport.journal-a", "carport.journal-b"];
    let mut saved = 0;
    for missing in [&journals[..1], &journals[1..], &journals[..]] {
        let home = Home::new();
        home.token().await;
        let mut tables = std::fs::read(home.store()).unwrap();
        tables[..9].fill(0);
        std::fs::write(home.store(), &tables).unwrap();
        for journal in missing {
            std::fs::remove_file(home.data().join(journal)).unwrap();
        }
        let repaired = home.run(&["check", "--offline", "--repair"]).await;
        assert!(!repaired.complaint().contains("panicked"), "{repaired:?}");
        if missing.len() == 2 {
            assert_eq!(repaired.code, Some(65), "{repaired:?}");
            assert!(repaired.complaint().contains("put a backup of"), "{repaired:?}");
            assert!(std::fs::read(home.store()).unwrap() == tables, "the damaged file was changed");
        } else {
            assert_eq!(repaired.code, Some(0), "{repaired:?}");
            saved += u32::from(home.done(&["token", "list"]).await.contains("test"));
        }
    }
    // The older of them is of a time before there was a token.
    assert!(saved >= 1, "no journal has the token");
}

#[tokio::test]
async fn the_store_of_another_program_is_refused_and_kept() {
    let home = Home::new();
    home.token().await;
    std::fs::remove_file(home.store()).unwrap();
    let database = Database::create(home.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, &str, u64> = TableDefinition::new("recipes");
    transaction.open_table(table).unwrap().insert("soup", 7).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("belongs to another program"), "{ran:?}");
}

#[tokio::test]
async fn a_newer_format_is_left_to_the_newer_version() {
    let home = Home::new();
    home.token().await;
    let database = Database::open(home.store()).unwrap();
    let transaction = database.begin_write().unwrap();
    let table: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("meta-1");
    // 99, in CBOR.
    transaction.open_table(table).unwrap().insert(b"format".as_slice(), [0x18, 99].as_slice()).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("format 99"), "{ran:?}");
}

#[tokio::test]
async fn a_newer_journal_is_left_to_the_newer_version() {
    let home = Home::new();
    home.token().await;
    let journals = ["carport.journal-a", "carport.journal-b"].map(|name| home.data().join(name));
    let mut blocks = 0;
    for journal in &journals {
        let mut bytes = std::fs::read(journal).unwrap();
        for block in bytes.chunks_mut(4096).filter(|block| block.starts_with(b"CPJ")) {
            block[3] = 99;
            blocks += 1;
        }
        std::fs::write(journal, bytes).unwrap();
    }
    assert!(blocks > 0);
    let kept = journals.clone().map(|journal| std::fs::read(journal).unwrap());
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("format 99"), "{ran:?}");
    // Nor does a repair know what to do with it.
    refused(&home, &["check", "--offline", "--repair"], 65).await;
    let checked = home.run(&["check", "--offline"]).await;
    assert_eq!(checked.code, Some(1), "{checked:?}");
    assert!(checked.stdout.contains("install the newer version again"), "{checked:?}");
    assert!(journals.map(|journal| std::fs::read(journal).unwrap()) == kept, "the journal was changed");
}

#[tokio::test]
async fn a_key_that_everybody_can_read_is_refused() {
    let home = Home::new();
    home.token().await;
    chmod(&home.key(), 0o644);
    let ran = unchanged(&home, 65).await;
    assert!(ran.complaint().contains("chmod 600"), "{ran:?}");
    chmod(&home.key(), 0o600);
    home.done(&["token", "list"]).await;
}

#[tokio::test]
async fn a_data_directory_that_cannot_be_used_is_named() {
    let home = Home::new();
    home.write("file", "");
    let ran = refused(&home, &[SERVE, &["--data-dir", "file/data"]].concat(), 64).await;
    assert!(ran.complaint().contains(&home.path("file/data").display().to_string()), "{ran:?}");

    // There, but not ours to write in.
    std::fs::create_dir(home.data()).unwrap();
    chmod(&home.data(), 0o555);
    let mut command = home.command(SERVE);
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; nobody may not.
        command.uid(65534);
    }
    let ran = Program::start(command).end().await;
    assert_eq!(ran.code, Some(64), "{ran:?}");
    assert!(ran.complaint().contains(&home.data().display().to_string()), "{ran:?}");
}

#[tokio::test]
async fn a_busy_port_is_named() {
    let home = Home::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = refused(&home, &["serve", "--listen", &address], 75).await;
    assert!(ran.complaint().contains(&address), "{ran:?}");
    assert!(!home.data().exists(), "a store was made all the same");
    // A socket file that is to lie in the data directory is no reason to refuse.
    Server::of(home.command(&[SERVE, &["--listen", "unix:carport-data/http.sock"]].concat())).await.stop().await;
    let ran = refused(&home, &["serve", "--listen", &address], 75).await;
    assert!(ran.complaint().contains(&address), "{ran:?}");
    let ran = refused(&home, &["simulate", "--listen", &address], 75).await;
    assert!(ran.complaint().contains(&address), "{ran:?}");
    // Nothing is left that would disturb the next one.
    let server = Server::start(&home).await;
    let ran = refused(&home, &["serve", "--listen", &address], 75).await;
    assert!(ran.complaint().contains("is carport running already?"), "{ran:?}");
    server.stop().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_wrong_usage() {
    let home = Home::new();
    for words in [
        &[][..],
        &["fly"],
        &["serve", "--fast"],
        &["token", "create"],
        &["token", "create", "--name", "x", "--scope", "everything"],
        &["connect", "--expires", "soon"],
        &["connect", "--scope", "read_vin", "--add-scope", "read_vin"],
        &["webhooks", "show", "first"],
        &["webhooks", "list", "--limit", "501"],
        &["demo", "--listen", "everywhere"],
        &["simulate", "--fault", "bad-weather", "--listen", "127.0.0.1:0"],
    ] {
        let ran = refused(&home, words, 2).await;
        assert!(!ran.stderr.is_empty(), "{words:?}");
    }
    assert!(!home.data().exists());
    assert_eq!(home.run(&["--help"]).await.code, Some(0));
    for words in ["--version", "version"] {
        assert_eq!(home.done(&[words]).await, format!("carport {}", env!("CARGO_PKG_VERSION")));
    }
}

#[tokio::test]
async fn without_a_carport_the_places_are_named() {
    let home = Home::new();
    for words in [
        &["users", "list"][..],
        &["vehicles", "list"],
        &["connections", "list"],
        &["webhooks", "list"],
        &["webhooks", "tail"],
        &["vehicles", "disconnect", "x", "--yes"],
    ] {
        let ran = refused(&home, words, 64).await;
        for place in [home.data(), home.path("config.toml"), "/etc/carport/config.toml".into()] {
            assert!(ran.complaint().contains(&place.display().to_string()), "{words:?}: {ran:?}");
        }
    }
    assert!(!home.data().exists(), "it was made by looking for it");
    let ran = refused(&home, &["users", "list", "--data-dir", "elsewhere"], 64).await;
    assert!(ran.complaint().contains(&home.path("elsewhere").display().to_string()), "{ran:?}");

    // A server that runs here is found by its usual place.
    let server = Server::start(&home).await;
    let ran = refused(&home, &["users", "list", "--data-dir", "elsewhere"], 64).await;
    assert!(
        ran.complaint().contains(&format!("a server runs at another place: --data-dir {}", home.data().display())),
        "{ran:?}"
    );
    server.stop().await;
}

async fn refused(home: &Home, words: &[&str], code: i32) -> Ran {
    let ran = home.run(words).await;
    assert_eq!(ran.code, Some(code), "{words:?}: {ran:?}");
    assert_eq!(ran.stdout, "", "{words:?}");
    ran
}

/// `serve` and an administrative command are refused, and the store is as it was.
async fn unchanged(home: &Home, code: i32) -> Ran {
    let before = files(&home.data());
    let ran = refused(home, SERVE, code).await;
    refused(home, &["token", "list"], code).await;
    assert!(files(&home.data()) == before, "something was changed: {ran:?}");
    assert!(!home.path("carport-data/carport.sock").exists());
    ran
}

const SERVE_AS_IT_IS: &[&str] = &["serve"];

#[tokio::test]
async fn what_does_not_fit_the_way_of_tls_is_told() {
    let home = Home::new();
    home.write("config.toml", "[session]\nidle = \"1h\"\nidle = \"30\"\n");
    let ran = home.run(&["config", "show"]).await;
    assert_eq!(ran.code, Some(64));
    assert!(ran.stderr.contains("config.toml:3): is not TOML here: the key idle stands here a second time"), "{}", ran.stderr);

    // One mistake is told once, though the default does not go with what else is there.
    home.write("config.toml", "[session]\nidle = \"30\"\nmax = \"1d\"\n");
    let ran = home.run(&["config", "show"]).await;
    assert!(ran.stderr.contains("there is a mistake") && ran.stderr.contains("\"30\" is not a duration"), "{}", ran.stderr);

    let acme = "[tls.acme]\nemail = \"a@example.org\"\ndomains = [\"*.example.net\"]\ndns = \"exec:/bin/true\"\n";
    home.write("config.toml", &format!("public_url = \"https://cars.example.org\"\n[tls]\nmode = \"acme\"\n{acme}"));
    let ran = home.run(&["config", "show"]).await;
    assert!(ran.stderr.contains("tls.acme.domains does not hold cars.example.org, the name in public_url"), "{}", ran.stderr);
    let ran = home.run(&["config", "proxy", "nginx"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(64), ""));
    assert!(ran.stderr.contains("set tls.mode = \"off\" first"), "{}", ran.stderr);

    home.write("config.toml", &format!("[tls]\nmode = \"self-signed\"\ncert = \"a.pem\"\n{acme}"));
    let ran = home.run(&["config", "show"]).await;
    for unused in
        ["tls.cert is not used: it belongs to tls.mode \"files\"", "tls.acme.email is not used: it belongs to tls.mode \"acme\""]
    {
        assert!(ran.stderr.contains(unused), "{}", ran.stderr);
    }
}
