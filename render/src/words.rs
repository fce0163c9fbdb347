//! Numbers and names as people read them, the same in pictures and terminals.

use crate::record::Recording;

/// Where there is no number.
pub(crate) const NONE: &str = "-";

/// A reward or a return: whole where it is whole, else as precise as its size allows.
pub(crate) fn amount(x: f32) -> String {
    // Whole numbers of this size are exact.
    match x.fract() == 0.0 && x.abs() < 1e7 {
        // Not "-0".
        true => format!("{:.0}", x + 0.0),
        false => estimate(x),
    }
}

/// An estimate, which is never meant to the last digit.
pub(crate) fn estimate(x: f32) -> String {
    match x.abs() {
        size if !size.is_finite() => NONE.into(),
        size if size < 10.0 => format!("{x:.2}"),
        size if size < 1e3 => format!("{x:.1}"),
        size if size < 1e7 => format!("{x:.0}"),
        _ => format!("{x:.1e}"),
    }
}

/// A reward with its sign, unless it is nothing.
pub(crate) fn reward(x: f32) -> String {
    match x > 0.0 {
        true => format!("+{}", amount(x)),
        false => amount(x),
    }
}

/// A share in per cent.
pub(crate) fn percent(share: f32) -> String {
    match share.is_finite() {
        true => format!("{:.0} %", share * 100.0),
        false => NONE.into(),
    }
}

/// Which episode it is.
pub(crate) fn title(recording: &Recording) -> String {
    let Recording { environment, plan, .. } = recording;
    format!("{environment}, {}, seed {}", plan.mode, plan.seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_whole_where_they_are_and_short_where_they_are_not() {
        let all = [0.0, -0.0, 1.0, -1.0, 500.0, 0.125, -12.34, 1234.5, 3e9, f32::NAN, f32::INFINITY];
        let expected = ["0", "0", "1", "-1", "500", "0.12", "-12.3", "1234", "3.0e9", "-", "-"];
        assert_eq!(all.map(amount), expected);
        assert_eq!([1.0, 0.0, -1.0, 0.5].map(reward), ["+1", "0", "-1", "+0.50"]);
        assert_eq!([9.0, 57.25, -0.004].map(estimate), ["9.00", "57.2", "-0.00"]);
        assert_eq!([0.0, 0.996, f32::NAN].map(percent), ["0 %", "100 %", "-"]);
    }
}
