//! What the REST API of 1Password Connect says, as far as it is needed.

use std::borrow::Cow;
use std::collections::BTreeMap;

use cardea_contract::secrets::TroubleKind;
use http::StatusCode;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::members::{self, NoMembers};
use crate::value::{Value, Values};

/// A vault or an item as a list shows it, without values.
#[derive(Deserialize)]
pub(super) struct Entry<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    /// What a vault is called.
    #[serde(default, borrow)]
    name: Option<Cow<'a, str>>,
    /// What an item is called.
    #[serde(default, borrow)]
    title: Option<Cow<'a, str>>,
    /// An item's.
    #[serde(default)]
    pub(super) version: Option<u64>,
}

impl Entry<'_> {
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.title.as_deref().or(self.name.as_deref()) == Some(name)
    }
}

/// An item with its values.
#[derive(Deserialize)]
pub(super) struct Item<'a> {
    pub(super) version: u64,
    #[serde(default, borrow)]
    sections: Vec<Section<'a>>,
    #[serde(default, borrow)]
    fields: Vec<Field<'a>>,
}

#[derive(Deserialize)]
struct Section<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(default, borrow)]
    label: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Field<'a> {
    #[serde(default, borrow)]
    label: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    section: Option<SectionOfField<'a>>,
    /// None: it was left empty.
    #[serde(default, borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct SectionOfField<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

impl Item<'_> {
    /// Each field by its label, and by `SECTION.LABEL` if it is in a section. A name that fits more than one field is no
    /// name of either; a label alone means first of all the field that is in no section.
    pub(super) fn values(&self) -> Result<Values, NoMembers> {
        let sections: BTreeMap<&str, &str> =
            self.sections.iter().filter_map(|section| Some((&*section.id, section.label.as_deref()?))).collect();
        let mut exact = Names::default();
        let mut labels = Names::default();
        for field in &self.fields {
            let (Some(label), Some(value)) = (field.label.as_deref(), field.value) else { continue };
            let value = members::value(value)?;
            match &field.section {
                None => exact.add(label.to_owned(), value),
                Some(section) => {
                    if let Some(section) = sections.get(&*section.id) {
                        exact.add(format!("{section}.{label}"), value.clone());
                    }
                    labels.add(label.to_owned(), value);
                }
            }
        }
        let mut values = labels.0;
        values.extend(exact.0);
        Ok(Values::Members(values.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()))
    }
}

/// Values by name; none where a name fits more than one.
#[derive(Default)]
struct Names(BTreeMap<String, Option<Value>>);

impl Names {
    fn add(&mut self, name: String, value: Value) {
        self.0.entry(name).and_modify(|held| *held = None).or_insert(Some(value));
    }
}

/// What a status means of anything.
pub(super) fn of_all(status: StatusCode) -> Option<(TroubleKind, &'static str)> {
    Some(match status.as_u16() {
        401 => (
            TroubleKind::Refused,
            "the access token is not one of this Connect server: create one and put it into the Secret",
        ),
        403 => (TroubleKind::Refused, "the access token must be allowed to read that vault"),
        404 => (TroubleKind::NotFound, "check the ids, and that the access token may read that vault"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(fields: &str) -> Values {
        let sections = r#"[{"id":"s1","label":"db"},{"id":"s2","label":"web"},{"id":"s3"}]"#;
        let text = format!(r#"{{"version":1,"sections":{sections},"fields":{fields}}}"#);
        serde_json::from_str::<Item<'_>>(&text).unwrap().values().unwrap()
    }

    fn get(values: &Values, key: &str) -> Option<String> {
        values.value(Some(key)).ok().map(|value| String::from_utf8(value.expose().to_vec()).unwrap())
    }

    #[test]
    fn a_field_goes_by_its_label_or_by_that_of_its_section_too() {
        let values = item(
            r#"[{"label":"user","value":"a"},{"label":"host","value":"b","section":{"id":"s1"}},{"label":"x","value":"c","section":{"id":"s3"}}]"#,
        );
        assert_eq!(get(&values, "user").unwrap(), "a");
        assert_eq!(get(&values, "host").unwrap(), "b");
        assert_eq!(get(&values, "db.host").unwrap(), "b");
        assert_eq!(get(&values, "x").unwrap(), "c");
    }

    #[test]
    fn a_label_that_fits_two_fields_fits_none() {
        let values = item(
            r#"[{"label":"host","value":"a","section":{"id":"s1"}},{"label":"host","value":"b","section":{"id":"s2"}},{"label":"twice","value":"c"},{"label":"twice","value":"d"}]"#,
        );
        assert_eq!(get(&values, "host"), None);
        assert_eq!(get(&values, "db.host").unwrap(), "a");
        assert_eq!(get(&values, "web.host").unwrap(), "b");
        assert_eq!(get(&values, "twice"), None);
    }

    #[test]
    fn a_label_alone_means_the_field_outside_of_sections() {
        let values = item(r#"[{"label":"host","value":"a","section":{"id":"s1"}},{"label":"host","value":"b"}]"#);
        assert_eq!(get(&values, "host").unwrap(), "b");
        assert_eq!(get(&values, "db.host").unwrap(), "a");
    }

    #[test]
    fn a_field_that_is_empty_is_none() {
        let values = item(r#"[{"label":"empty"},{"value":"without a label"},{"label":"null","value":null}]"#);
        assert_eq!(get(&values, "empty"), None);
        assert_eq!(get(&values, "null"), None);
    }
}
