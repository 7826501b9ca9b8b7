//! The matrix as a page that needs nothing but itself.

use super::{Matrix, May};

const STYLE: &str = "body{font:14px system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse}\
th,td{border:1px solid #ccc;padding:.35em .7em;text-align:center}th:first-child{text-align:left}\
thead th{writing-mode:vertical-rl;vertical-align:bottom;font-weight:500}thead th:first-child{writing-mode:initial}\
.yes{background:#bfe5c7}.if{background:#fbe6a8}.no{background:#f6f6f6;color:#aaa}code{font-size:13px}";

pub(super) fn of(matrix: &Matrix) -> String {
    let server = escaped(&matrix.server);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{server}</title><style>{STYLE}</style>\n<h1>{server}: who may use what</h1>\n<table><thead><tr><th>Caller</th>"
    );
    for tool in &matrix.tools {
        page.push_str(&format!("<th>{}</th>", escaped(tool)));
    }
    page.push_str("</tr></thead>\n");
    for (label, cells) in &matrix.callers {
        page.push_str(&format!("<tr><th>{}</th>", escaped(label)));
        for may in cells {
            let (class, title) = match may {
                May::Always => ("yes", "with any arguments"),
                May::Sometimes => ("if", "as a rule says"),
                May::Never => ("no", "never"),
            };
            page.push_str(&format!("<td class=\"{class}\" title=\"{title}\">{}</td>", may.word()));
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    if !matrix.conditions.is_empty() {
        page.push_str("<h2>Conditions</h2>\n<dl>\n");
        for (rule, condition) in &matrix.conditions {
            page.push_str(&format!("<dt>{}</dt><dd><code>{}</code></dd>\n", escaped(rule), escaped(condition)));
        }
        page.push_str("</dl>\n");
    }
    page.push_str("</html>\n");
    page
}

/// Text as HTML shows it. Names come from manifests and servers.
fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}
