//! Looking for secrets where there must be none: on the disk and in the log, plain or encoded.

use std::io::Write;
use std::sync::{Arc, Mutex};

use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER, HEXUPPER};
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that is logged in this thread while it lives.
pub(super) struct Log {
    lines: Lines,
    _guard: DefaultGuard,
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins, at the finest level.
    pub(super) fn capture() -> Log {
        let lines = Lines::default();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_ansi(false)
            .without_time()
            .with_writer(lines.clone())
            .finish();
        Log { lines, _guard: tracing::subscriber::set_default(subscriber) }
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.lines.0.lock().unwrap().clone()).unwrap()
    }

    pub(super) fn check(&self, secrets: &[String]) {
        let lines = self.lines.0.lock().unwrap().clone();
        assert!(!lines.is_empty(), "nothing was logged at all");
        check("the log", &lines, secrets);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Lines;

    fn make_writer(&'a self) -> Lines {
        self.clone()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Panics if `hay` holds any of `secrets` in any encoding.
pub(super) fn check(place: &str, hay: &[u8], secrets: &[String]) {
    let mut needles: Vec<(Vec<u8>, &str)> = Vec::new();
    for secret in secrets {
        let bytes = secret.as_bytes();
        let url: String = url::form_urlencoded::byte_serialize(bytes).collect();
        for form in [
            secret.clone(),
            url,
            BASE64.encode(bytes).trim_end_matches('=').to_owned(),
            BASE64URL_NOPAD.encode(bytes),
            HEXLOWER.encode(bytes),
            HEXUPPER.encode(bytes),
        ] {
            needles.push((form.into_bytes(), secret));
        }
    }
    // One walk for all: by their first two bytes.
    let mut table: Vec<Vec<usize>> = vec![Vec::new(); 1 << 16];
    for (place, (needle, _)) in needles.iter().enumerate() {
        assert!(needle.len() >= 8, "too short to be looked for: {}", needle.len());
        table[usize::from(u16::from_be_bytes([needle[0], needle[1]]))].push(place);
    }
    for at in 0..hay.len().saturating_sub(1) {
        for candidate in &table[usize::from(u16::from_be_bytes([hay[at], hay[at + 1]]))] {
            let (needle, secret) = &needles[*candidate];
            assert!(!hay[at..].starts_with(needle), "{place} holds a secret: {secret}");
        }
    }
}
