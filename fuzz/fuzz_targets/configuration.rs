//! Whatever an operator writes: the configuration file, and after a zero byte lines of the environment.
//!
//! What must hold: nothing panics. What is refused is refused for something that can be named, with a remedy. What is
//! taken shows every key with its origin, no secret among the values, and reads the same the next time.
#![no_main]

use std::path::PathBuf;
use std::sync::LazyLock;

use carport::config::{ConfigFile, Environment, Sources, load};
use libfuzzer_sys::fuzz_target;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = std::env::temp_dir().join(format!("carport-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
});

fuzz_target!(|data: &[u8]| {
    let data = &data[..data.len().min(20_000)];
    let zero = data.iter().position(|byte| *byte == 0);
    let (text, lines) = zero.map_or((data, &[][..]), |zero| (&data[..zero], &data[zero + 1..]));
    let file = DIRECTORY.join("config.toml");
    std::fs::write(&file, text).expect("a file");
    let lines = String::from_utf8_lossy(lines);
    let environment: Environment = lines.lines().filter_map(|line| line.split_once('=')).collect();
    let sources = Sources { file: ConfigFile::At(file), environment, directory: DIRECTORY.clone(), ..Sources::default() };
    match load(&sources) {
        Err(mistakes) => {
            assert!(!mistakes.0.is_empty());
            for mistake in &mistakes.0 {
                assert!(!mistake.key.is_empty() && !mistake.wrong.is_empty() && !mistake.remedy.is_empty(), "{mistake:?}");
            }
        }
        Ok(config) => {
            for shown in config.shown() {
                assert!(!shown.origin.is_empty(), "{shown:?}");
                let is_secret = shown.key.ends_with("_secret") || shown.key.ends_with("_token") || shown.key == "key.secret";
                assert!(!is_secret || shown.value.is_empty() || shown.value.contains("***"), "{}", shown.key);
            }
            let again = load(&sources).expect("the same");
            assert_eq!(config.shown(), again.shown());
        }
    }
});
