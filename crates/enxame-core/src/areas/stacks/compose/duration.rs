//! Durations and sizes, in the words of a compose file.

use std::time::Duration;

/// Go's: `1m30s`, `1.5h`, `500ms`.
pub(in crate::areas::stacks) fn duration(text: &str) -> Option<Duration> {
    if text.is_empty() || text == "0" {
        return (text == "0").then_some(Duration::ZERO);
    }
    let mut total = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|one: char| !one.is_ascii_digit() && one != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|one: char| one.is_ascii_digit() || one == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok()
}

/// Docker's (docker/go-units, `RAMInBytes`): `512M`, `1.5g`, `2GiB`, bytes.
pub(in crate::areas::stacks) fn bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|one: char| !one.is_ascii_digit() && one != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim().to_lowercase();
    let power = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    let amount = number.parse::<f64>().ok()? * 1024_f64.powi(power);
    // Sizes are far below 2^53.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and no more than u64 after the test"
    )]
    (amount < 9e18).then_some(amount as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        for (text, milliseconds) in
            [("30s", 30_000), ("1m30s", 90_000), ("1.5h", 5_400_000), ("500ms", 500), ("0", 0)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "s", "1d", "-1s", "1s5"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_dockers() {
        for (text, expected) in [
            ("1", 1),
            ("512M", 512 << 20),
            ("1.5g", 1536 << 20),
            ("2GiB", 2 << 30),
            ("64 mb", 64 << 20),
            ("10b", 10),
        ] {
            assert_eq!(bytes(text), Some(expected), "{text}");
        }
        for text in ["", "x", "1x", "M"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }
}
