//! JSON Pointers (RFC 6901) in which `*` stands for anything.

/// One step of a pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Any,
    Named(Box<str>),
}

/// The steps of a pointer. `*` is any, and `~2` a name of that letter. None if it is not a pointer, or one to the whole.
pub(crate) fn steps(pointer: &str) -> Option<Vec<Step>> {
    pointer.strip_prefix('/')?.split('/').map(step).collect()
}

fn step(text: &str) -> Option<Step> {
    if text == "*" {
        return Some(Step::Any);
    }
    let mut name = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        name.push(match letter {
            '~' => match letters.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some('2') => '*',
                _ => return None,
            },
            letter => letter,
        });
    }
    Some(Step::Named(name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_is_a_name() {
        let named = |names: &[&str]| Some(names.iter().map(|name| Step::Named((*name).into())).collect::<Vec<_>>());
        for (pointer, expected) in [
            ("/a/b", named(&["a", "b"])),
            ("/", named(&[""])),
            ("/a//", named(&["a", "", ""])),
            ("/a~1b/~0~2", named(&["a/b", "~*"])),
            ("/~01", named(&["~1"])),
            ("/**", named(&["**"])),
            ("/*", Some(vec![Step::Any])),
            ("", None),
            ("a", None),
            ("/~", None),
            ("/~3", None),
        ] {
            assert_eq!(steps(pointer), expected, "{pointer:?}");
        }
    }
}
