//! Texts and names that two programs may read in two ways.

use unicode_normalization::{UnicodeNormalization as _, is_nfkc};

/// Whether two programs see the same text: no letter that is commonly folded into another (NFKC), none that is not seen, and
/// nothing that ends a line or a text somewhere.
pub(crate) fn is_plain(text: &str) -> bool {
    !text.chars().any(is_unseen) && (text.is_ascii() || is_nfkc(text))
}

/// Whether a lax reader may take one name for the other.
pub(crate) fn look_alike(name: &str, other: &str) -> bool {
    if name.is_ascii() && other.is_ascii() && !other.contains(is_unseen) {
        return name.eq_ignore_ascii_case(other);
    }
    let folded = |text: &str| -> String {
        text.nfkc().filter(|letter| !is_unseen(*letter)).flat_map(char::to_lowercase).nfkc().collect()
    };
    folded(name) == folded(other)
}

/// Whether it stands in a text without being seen: format characters, tags, private use, but neither controls nor what
/// ends a line.
pub(crate) fn is_invisible(letter: char) -> bool {
    !letter.is_control()
        && (is_unseen(letter)
            || matches!(letter, '\u{e000}'..='\u{f8ff}' | '\u{f0000}'..='\u{ffffd}' | '\u{100000}'..='\u{10fffd}'))
}

/// Controls, line ends and what changes how a text looks, or nothing that can be seen (Unicode: Cc, Cf, Zl, Zp and
/// `Default_Ignorable_Code_Point`).
fn is_unseen(letter: char) -> bool {
    letter.is_control()
        || (!letter.is_ascii()
            && matches!(letter,
                '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}'
                | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
                | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}'
                | '\u{110cd}' | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_taken_for_each_other() {
        for other in ["ENV", "Env", "env\u{200b}", "env\0", "ｅnv", "e\u{34f}nv"] {
            assert!(look_alike("env", other), "{other:?}");
        }
        assert!(look_alike("token", "to\u{212a}en"));
        for other in ["envs", "en", "e_nv", "эnv", ""] {
            assert!(!look_alike("env", other), "{other:?}");
        }
    }

    #[test]
    fn plain_is_what_everybody_reads_alike() {
        for text in ["", "a b", "é", "日本語", "naïve?"] {
            assert!(is_plain(text), "{text:?}");
        }
        for text in ["a\n", "a\0", "\u{7f}", "\u{85}", "e\u{301}", "ａ", "a\u{180f}", "a\u{2028}", "\u{2800}"] {
            assert!(!is_plain(text), "{text:?}");
        }
    }
}
