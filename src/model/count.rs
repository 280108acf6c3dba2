//! How many of something, in words.

use std::fmt::Display;

/// `1 car`, `2 cars`. For what has no plural of its own.
pub fn count(number: impl Display, what: &str) -> String {
    let number = number.to_string();
    if number == "1" { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_others_are_several() {
        assert_eq!([0, 1, 2].map(|number| count(number, "car")), ["0 cars", "1 car", "2 cars"]);
    }
}
