use std::fmt;

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mistake {
    /// The key, or what stands in its place.
    pub key: String,
    /// Where it is written, such as `config.toml:12` or `CARPORT_LISTEN`.
    pub origin: String,
    /// What is wrong with it.
    pub wrong: String,
    /// The one thing to do.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.key)?;
        if !self.origin.is_empty() && self.origin != self.key {
            write!(f, " ({})", self.origin)?;
        }
        let end = if self.remedy.ends_with('?') { "" } else { "." };
        write!(f, ": {}. {}{end}", self.wrong, self.remedy)
    }
}

/// All mistakes in the configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "there is a mistake in the configuration:")?,
            count => write!(f, "there are {count} mistakes in the configuration:")?,
        }
        self.0.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
    }
}
