//! Who may call what, told to every target that decides: fifty rules, the one that the caller needs last.
//!
//! Only our own rules have a condition on arguments beside: what others cannot express stands in
//! `docs/benchmarks/README.md`.

/// Tools that a server offers.
const TOOLS: usize = 200;
/// Rules that everything-on targets decide by.
const RULES: usize = 50;
/// Tools that a rule of a team names.
const EACH: usize = 4;
/// What the caller may call.
const OWN: [&str; 4] = ["echo", "big", "count", "hold"];
/// Teams that the caller belongs to.
const MEMBER_OF: [usize; 4] = [5, 17, 29, 41];

/// Members of a group may call these tools.
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) tools: Vec<String>,
}

/// The rules. Their order is also that of their names.
pub(crate) fn rules() -> Vec<Rule> {
    let teams = (0..RULES - 1).map(|number| Rule {
        name: format!("rule-{number:02}"),
        group: team(number),
        tools: (number * EACH..(number + 1) * EACH).map(numbered).collect(),
    });
    let last = Rule {
        name: format!("rule-{:02}", RULES - 1),
        group: "callers".into(),
        tools: OWN.iter().map(|name| (*name).to_owned()).collect(),
    };
    teams.chain([last]).collect()
}

/// All tools of the server.
pub(crate) fn tools() -> Vec<String> {
    (0..TOOLS - OWN.len()).map(numbered).chain(OWN.iter().map(|name| (*name).to_owned())).collect()
}

/// Groups of the caller.
pub(crate) fn groups() -> Vec<String> {
    MEMBER_OF.iter().map(|number| team(*number)).chain(["callers".into()]).collect()
}

/// How many tools the caller sees where lists are filtered.
pub(crate) fn shown() -> usize {
    OWN.len() + MEMBER_OF.len() * EACH
}

/// How many tools there are.
pub(crate) fn all() -> usize {
    TOOLS
}

/// A tool that exists and that the caller may not call.
pub(crate) fn forbidden() -> String {
    numbered(0)
}

fn team(number: usize) -> String {
    format!("team-{number:02}")
}

fn numbered(number: usize) -> String {
    format!("tool_{number:03}")
}
