//! The examples of the README, each against a real `carport demo`.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The application management token of the simulated application.
const MANAGEMENT_TOKEN: &str = "51a0ca12-0000-4000-8000-000000000005";

/// A demonstration that runs, until it is dropped.
struct Demo {
    process: Child,
    base: String,
    token: String,
}

impl Demo {
    fn start() -> Demo {
        let mut process = Command::new(env!("CARGO_BIN_EXE_carport"))
            .args(["demo", "--listen", "127.0.0.1:0"])
            .env_remove("CARPORT_LONG")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("carport demo starts");
        let output = BufReader::new(process.stdout.take().expect("its output is ours"));
        let mut demo = Demo { process, base: String::new(), token: String::new() };
        for line in output.lines().map_while(Result::ok) {
            if let Some(link) = line.strip_prefix("Dashboard: ") {
                demo.base = link.split("/login").take(1).collect();
            }
            if let Some(token) = line.strip_prefix("API token: ") {
                token.clone_into(&mut demo.token);
                return demo;
            }
        }
        panic!("the demonstration ended before it was ready");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // SIGTERM: the demonstration then removes its temporary data.
        let pid = rustix::process::Pid::from_child(&self.process);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// Runs a command to its end and returns what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{} {}:\n{said}\n{complained}", command.get_program().display(), output.status);
    said.into_owned()
}

/// A built example: cargo puts it beside the program.
fn built(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_BIN_EXE_carport")).parent().expect("the program lies in a directory");
    let example = directory.join("examples").join(name);
    assert!(example.exists(), "{} is missing: `cargo test` builds it, `cargo test --test it` does not", example.display());
    example
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(name)
}

fn says(output: &str, parts: &[&str]) {
    for part in parts {
        assert!(output.contains(part), "{part:?} is not in:\n{output}");
    }
}

#[test]
fn a_gateway_inside_another_program() {
    let said = run(&mut Command::new(built("embed")));
    says(&said, &["Listening on 127.0.0.1:", "Ann connects her car at https://cars.example.org/connect/", "Stopped."]);
}

#[test]
fn a_webhook_of_ones_own() {
    let demo = Demo::start();
    let url = format!("{}/api/webhooks/smartcar", demo.base);
    let said = run(Command::new(built("send_webhook")).args([&url, MANAGEMENT_TOKEN]));
    says(&said, &["200 OK", r#""status":"accepted""#]);
    let refused = Command::new(built("send_webhook")).args([&url, "another token"]).output().expect("it runs");
    assert!(!refused.status.success());
    says(&String::from_utf8_lossy(&refused.stdout), &["401 Unauthorized", "bad_signature"]);
}

#[test]
fn the_back_end_of_an_application() {
    let demo = Demo::start();
    let said = run(Command::new("python3").arg(script("app.py")).args([&demo.base, &demo.token]));
    says(&said, &["ann connects a car at http://localhost:", "VOLKSWAGEN", "of ada", "VOLVO", "of grace"]);
    says(&said, &["tractionbattery-stateofcharge = ", "it had "]);
}

#[test]
fn an_app_that_opens_connect_by_itself() {
    let demo = Demo::start();
    let said = run(Command::new("node").arg(script("app.mjs")).env("BASE", &demo.base).env("TOKEN", &demo.token));
    says(&said, &["Connect begins at http://127.0.0.1:", "Connected 1 vehicle(s) of app-user-1"]);
    // What goes wrong is one line.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
    let nobody = format!("http://{closed}");
    for (base, token, said) in [(&nobody, "x", "does not answer: ECONNREFUSED"), (&demo.base, "x", "401 unauthorized: ")] {
        let ran = Command::new("node").arg(script("app.mjs")).args([base, token]).output().expect("node runs");
        let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(said) && complaint.lines().count() == 1, "{complaint}");
    }
}

#[test]
fn watching_webhooks() {
    let demo = Demo::start();
    let said = run(Command::new("sh").arg(script("watch.sh")).args([&demo.base, &demo.token, "2"]));
    says(&said, &["-- ", r#""type":"VE"#, r#""next":"#]);
}

/// A simulated Smartcar alone, and the environment it prints.
fn simulate() -> (Stopped, Vec<(String, String)>) {
    let mut process = Command::new(env!("CARGO_BIN_EXE_carport"))
        .args(["simulate", "--listen", "127.0.0.1:0"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("carport simulate starts");
    let output = BufReader::new(process.stdout.take().expect("its output is ours"));
    let lines = output.lines().map_while(Result::ok).take_while(|line| !line.starts_with("Sign in as "));
    let exported = |line: String| {
        let (name, value) = line.strip_prefix("export ")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    let environment = lines.filter_map(exported).collect();
    (Stopped(process), environment)
}

/// A process that ends with its test.
struct Stopped(Child);

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Smartcar's own tutorial, without Carport between.
#[test]
fn the_tutorial_of_smartcar_with_plain_http() {
    let (_simulator, environment) = simulate();
    let said =
        run(Command::new("python3").arg(script("smartcar.py")).args(["--as", "grace@example.com"]).envs(environment.clone()));
    says(&said, &[r#""make": "VOLVO""#, r#""powertrainType": "PHEV""#, "odometer-traveleddistance", "tractionbattery-range"]);
    assert!(!said.contains("location"), "the owner was not asked for the location: {said}");

    // An account of API v2.0 is the first that the simulator lists.
    let said =
        run(Command::new("python3").arg(script("smartcar.py")).args(["--as", "ada@example.com"]).envs(environment.clone()));
    says(&said, &[r#""make": "VOLKSWAGEN""#, r#""/odometer": {"#, r#""distance": "#]);

    for (words, said) in [
        (&["--as"][..], "such as grace@example.com"),
        (&["ada@example.com"], "ada@example.com is not understood: say --as EMAIL"),
        (&["--as", "no-vehicles@example.com"], "no_vehicles: "),
    ] {
        let ran = Command::new("python3").arg(script("smartcar.py")).args(words).envs(environment.clone()).output();
        let ran = ran.expect("python3 runs");
        let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{complaint}");
        assert!(complaint.contains(said) && complaint.lines().count() == 1, "{complaint}");
    }

    // What somebody forgets, or takes: each is one line that says what to do.
    let busy = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let taken = busy.local_addr().expect("it is bound").port();
    let another = format!("such as http://localhost:{}/exchange", taken + 1);
    for (name, value, words, said) in [
        ("SMARTCAR_CLIENT_ID", "", &[][..], "SMARTCAR_CLIENT_ID is not set"),
        ("CARPORT_SMARTCAR_V3_CLIENT_ID", "", &["--as", "grace@example.com"], "CARPORT_SMARTCAR_V3_CLIENT_ID"),
        ("SMARTCAR_CLIENT_SECRET", "wrong", &["--as", "ada@example.com"], "invalid_client"),
        ("SMARTCAR_CONNECT_ORIGIN", "http://127.0.0.1:1", &["--as", "ada@example.com"], "Is `carport simulate` running?"),
        ("SMARTCAR_REDIRECT_URI", &format!("http://localhost:{taken}/exchange"), &[], &another),
        ("SMARTCAR_REDIRECT_URI", "https://app.example/exchange", &[], "serves http://localhost:PORT/PATH only"),
    ] {
        let mut command = Command::new("python3");
        let ran = command.arg(script("smartcar.py")).args(words).envs(environment.clone()).env(name, value).output();
        let ran = ran.expect("python3 runs");
        let complaint = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(1), "{name}: {complaint}");
        assert!(complaint.contains(said) && complaint.lines().count() == 1, "{name}: {complaint}");
    }

    // In a browser: the application sends to Connect, and Connect back to it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port();
    let back = format!("http://localhost:{port}/exchange");
    let mut application = Command::new("python3");
    application.arg("-u").arg(script("smartcar.py")).envs(environment).env("SMARTCAR_REDIRECT_URI", &back);
    let mut application = Stopped(application.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts"));
    let mut first = String::new();
    let output = application.0.stdout.take().expect("its output is ours");
    BufReader::new(output).read_line(&mut first).expect("it says where it is");
    says(&first, &[&format!("http://localhost:{port}/")]);
    let browse = format!(
        "import urllib.request as r\n\
         class Agree(r.HTTPRedirectHandler):\n\
        \x20   def redirect_request(self, q, f, c, m, h, u):\n\
        \x20       return super().redirect_request(q, f, c, m, h, u + '&simulator_account=grace@example.com' if '/oauth/' in u else u)\n\
         print(r.build_opener(Agree).open('http://127.0.0.1:{port}/', timeout=60).read().decode())\n\
         try: r.urlopen('http://127.0.0.1:{port}/exchange?state=forged&user_id=x')\n\
         except r.HTTPError as refused: print(refused.code, refused.read().decode())\n"
    );
    let said = run(Command::new("python3").args(["-c", &browse]));
    says(&said, &[r#""make": "VOLVO""#, "400", "this return was not asked for"]);
}
