//! Proving deliveries and answering challenges: HMAC-SHA256 under the application management token.
//!
//! The rule (Smartcar, "payload verification"): `SC-Signature` is the hex HMAC over the raw body bytes;
//! the answer to a VERIFY challenge is the same function over the challenge. There is no time in it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::model::Secret;

/// Whether `signature` is the HMAC of `body` under any of `tokens`. Takes the same time wherever it differs.
pub fn verify(tokens: &[Secret], body: &[u8], signature: &[u8]) -> bool {
    let mut given = [0; 32];
    if signature.len() != 64 || data_encoding::HEXLOWER_PERMISSIVE.decode_mut(signature, &mut given).is_err() {
        return false;
    }
    // SECURITY: every token is tried, so that the time does not tell which one fits.
    tokens.iter().fold(false, |proven, token| mac(token, body).verify_slice(&given).is_ok() | proven)
}

/// What is wrong with the `SC-Signature` headers of a post that did not prove, for the operator.
pub fn flaw(signatures: &[&[u8]]) -> &'static str {
    match signatures {
        [] => "it bears no signature (the header SC-Signature)",
        [signature] if signature.len() != 64 || !signature.iter().all(u8::is_ascii_hexdigit) => {
            "its SC-Signature is not 64 hexadecimal digits"
        }
        [_] => "its signature is of another management token, or the body was changed on its way",
        _ => "it bears more than one SC-Signature",
    }
}

/// The answer to a challenge, in 64 lower-case hex digits.
pub fn answer(token: &Secret, challenge: &str) -> String {
    data_encoding::HEXLOWER.encode(&mac(token, challenge.as_bytes()).finalize().into_bytes())
}

/// Whether answering `challenge` can do no harm.
///
/// SECURITY: the answer is an HMAC over text that a stranger chose, under the key that signs events. With
/// no brace, quote or space in it, the text can never be a JSON object, so the answer signs no event.
pub fn is_harmless(challenge: &str) -> bool {
    (1..=256).contains(&challenge.len())
        && challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte))
}

fn mac(token: &Secret, message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(token.expose().as_bytes()).expect("HMAC takes keys of any length");
    mac.update(message);
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the official node and ruby SDKs' tests.
    const VECTORS: [(&str, &str); 2] = [
        ("challenge", "9baf5a7464bd86740ad5a06e439dcf535a075022ed2c92d74efacf646d79328e"),
        (r#"{"pizza":"pasta"}"#, "4c05a8da471f05156ad717baa4017acd13a3a809850b9ca7d3301dcaaa854f70"),
    ];

    #[test]
    fn agrees_with_the_sdks() {
        let tokens = [Secret::new("other"), Secret::new("amt")];
        for (message, hex) in VECTORS {
            assert_eq!(answer(&tokens[1], message), hex);
            assert!(verify(&tokens, message.as_bytes(), hex.as_bytes()));
            assert!(!verify(&tokens[..1], message.as_bytes(), hex.as_bytes()));
        }
    }

    #[test]
    fn refuses_malformed_signatures() {
        let tokens = [Secret::new("amt")];
        let good = VECTORS[0].1;
        for bad in ["", "9b", &good[1..], &format!("{good}0"), &format!("sha256={good}"), &"z".repeat(64)] {
            assert!(!verify(&tokens, b"challenge", bad.as_bytes()), "{bad}");
        }
        assert!(!verify(&[], b"challenge", good.as_bytes()));
    }

    #[test]
    fn a_harmless_challenge_is_no_json() {
        for good in ["any-abcd", "3f9a7c1e5b2d4860a1c3e5f7092b4d6e", &"a".repeat(256), "a.b_c~d+e/f=="] {
            assert!(is_harmless(good), "{good}");
        }
        for bad in ["", "{}", r#"{"eventType":"x"}"#, "a b", "\"", "[1]", "ab\n", "\u{e9}", &"a".repeat(257)] {
            assert!(!is_harmless(bad), "{bad}");
        }
    }
}
