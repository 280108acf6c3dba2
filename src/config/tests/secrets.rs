//! Secrets in files of their own.

use super::*;

#[test]
fn secrets_come_from_files_and_systemd() {
    let place = Place::new();
    let amt = place.write("amt", "first\nsecond\n");
    place.write("etc/v3", "from the file\n");
    place.write("credentials/key.secret", "master\n");
    let credentials = place.0.join("credentials");
    let config = place.load(
        "[smartcar.v3]\nclient_id = \"client_1\"\nclient_secret_file = \"v3\"\n",
        &[
            ("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN_FILE", amt.to_str().unwrap()),
            ("CREDENTIALS_DIRECTORY", credentials.to_str().unwrap()),
        ],
    );
    let v3 = config.smartcar.v3.unwrap();
    assert_eq!(v3.client_secret.expose(), "from the file");
    // It may be another one by the time it is refused.
    place.write("etc/v3", "from the file, later\n");
    assert_eq!(reread(&v3.client_secret_file.unwrap()).unwrap().expose(), "from the file, later");
    let tokens: Vec<&str> = config.smartcar.management_tokens.iter().map(Secret::expose).collect();
    assert_eq!(tokens, ["first", "second"]);
    assert_eq!(config.key.secret.unwrap().expose(), "master");
}

#[test]
fn a_secret_that_all_can_read_is_warned_of_and_an_empty_one_refused() {
    let place = Place::new();
    let open = place.write("open", "secret");
    fs::set_permissions(&open, fs::Permissions::from_mode(0o644)).unwrap();
    let config = place.load("", &[("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN_FILE", open.to_str().unwrap())]);
    let told = config.warnings[0].replace(place.0.to_str().unwrap(), "~");
    assert_eq!(told, "~/open holds a secret and is open to everybody on this machine (mode 644): chmod 600 ~/open");
    // A file of root is open to its group because somebody meant it so.
    let is_root = rustix::process::geteuid().is_root();
    for (mode, owner, is_told) in [(0o640, 1, true), (0o660, 1, true), (0o600, 1, false), (0o640, 0, false), (0o660, 0, true)] {
        if is_root {
            std::os::unix::fs::chown(&open, Some(owner), None).unwrap();
        } else if owner == 0 {
            continue;
        }
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let config = place.load("", &[("CARPORT_SMARTCAR_APPLICATION_MANAGEMENT_TOKEN_FILE", open.to_str().unwrap())]);
        assert_eq!(config.warnings.join(" ").contains("is open to the group"), is_told, "{mode:o} of {owner}");
    }
    let key = [("CARPORT_KEY_SECRET_FILE", open.to_str().unwrap())];
    for mode in [0o644, 0o640, 0o604] {
        fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
        let refusal = format!("~/open can be read by others (mode {mode:o}). chmod 600 ~/open.");
        let told = load(&place.sources("", &key)).unwrap_err().to_string().replace(place.0.to_str().unwrap(), "~");
        assert!(told.contains(&refusal), "{told}");
    }
    place.write("empty", "\n");
    place.mistakes(
        "[key]\nsecret_file = \"../empty\"\n",
        &[("CARPORT_SMARTCAR_V3_CLIENT_SECRET", ""), ("CARPORT_SMARTCAR_V2_CLIENT_SECRET_FILE", "/nowhere/at/all")],
        expect![[r"
            there are 3 mistakes in the configuration:
              key.secret (~/etc/config.toml:2): its file ~/etc/../empty is empty. Put the secret into ~/etc/../empty.
              smartcar.v2.client_secret (CARPORT_SMARTCAR_V2_CLIENT_SECRET_FILE): its file /nowhere/at/all cannot be read: No such file or directory (os error 2). Put the secret into /nowhere/at/all.
              smartcar.v3.client_secret (CARPORT_SMARTCAR_V3_CLIENT_SECRET): is empty. Give it a value, or remove the variable."]],
    );
}
