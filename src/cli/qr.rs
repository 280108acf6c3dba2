use qrcode::{Color, QrCode};

/// A link as a QR code, two rows a line by half blocks. Light on dark terminals and dark on light ones
/// both scan: the code brings its own quiet zone and colours. `None` if the link is too long for a code.
pub(super) fn code(link: &str) -> Option<String> {
    let code = QrCode::new(link).ok()?;
    let width = i64::try_from(code.width()).ok()?;
    let colors = code.to_colors();
    let dark = |x: i64, y: i64| {
        let inside = (0..width).contains(&x) && (0..width).contains(&y);
        inside && usize::try_from(y * width + x).is_ok_and(|place| colors.get(place) == Some(&Color::Dark))
    };
    let mut lines = String::new();
    for y in (-QUIET..width + QUIET).step_by(2) {
        // Black on white, whatever the terminal's own colours are.
        lines.push_str("\u{1b}[30;107m");
        for x in -QUIET..width + QUIET {
            lines.push(match (dark(x, y), dark(x, y + 1)) {
                (true, true) => '\u{2588}',
                (true, false) => '\u{2580}',
                (false, true) => '\u{2584}',
                (false, false) => ' ',
            });
        }
        lines.push_str("\u{1b}[0m\n");
    }
    Some(lines)
}

/// Light modules around the code; two are enough on a screen.
const QUIET: i64 = 2;

#[cfg(test)]
mod tests {
    #[test]
    fn a_link_has_a_square_code() {
        let code = super::code("http://localhost:8000/connect/abc").unwrap();
        let lines: Vec<usize> = code.lines().map(|line| line.chars().filter(|c| !c.is_ascii() || *c == ' ').count()).collect();
        assert!(lines.iter().all(|width| *width == lines[0]) && lines.len() == lines[0].div_ceil(2), "{lines:?}");
    }
}
