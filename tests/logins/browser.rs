//! A person with a browser: follows redirects, fills in whatever form is shown, and ends where the client's own address
//! begins, which is never asked for.
//!
//! Does not know which authorization server shows the forms.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail};
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use regex::Regex;
use reqwest::{Certificate, Client, Response, Url};

/// Where an authorization server sends the person back to.
pub(crate) const REDIRECT: &str = "https://client.test/callback";
/// Most pages of one login.
const MAX_PAGES: usize = 30;

/// The person, who remembers cookies.
pub(crate) struct Browser {
    http: Client,
    cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new(authorities: &str) -> anyhow::Result<Self> {
        let trust = Certificate::from_pem_bundle(authorities.as_bytes())?;
        let http = Client::builder().tls_certs_only(trust).redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { http, cookies: BTreeMap::new() })
    }

    /// Opens a page as `alice`, agrees to everything, and tells the address with the code.
    pub(crate) async fn log_in(&mut self, url: &str) -> anyhow::Result<String> {
        let mut page = self.send(self.http.get(url)).await?;
        for _ in 0..MAX_PAGES {
            let here = page.url().clone();
            if page.status().is_redirection() {
                let to = page.headers().get(LOCATION).context("a redirect to nowhere")?.to_str()?;
                let to = here.join(to)?;
                if to.as_str().starts_with(REDIRECT) {
                    return Ok(to.into());
                }
                page = self.send(self.http.get(to)).await?;
                continue;
            }
            let status = page.status();
            let html = page.text().await?;
            let Some(form) = Form::read(&here, &html)? else {
                bail!("{here} answers {status} without a form: {html}");
            };
            let body = Url::parse_with_params("https://form.test", &form.fields)?;
            let request = self.http.post(form.action).header("content-type", "application/x-www-form-urlencoded");
            page = self.send(request.body(body.query().unwrap_or_default().to_owned())).await?;
        }
        bail!("no end of pages after {url}")
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> anyhow::Result<Response> {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let response = request.header(COOKIE, cookies.join("; ")).send().await?;
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str()?.split(';').next().unwrap_or_default();
            match cookie.split_once('=') {
                Some((name, "")) => drop(self.cookies.remove(name)),
                Some((name, value)) => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                None => {}
            }
        }
        Ok(response)
    }
}

/// The first form of a page, filled in.
struct Form {
    action: Url,
    fields: Vec<(String, String)>,
}

impl Form {
    fn read(page: &Url, html: &str) -> anyhow::Result<Option<Self>> {
        let Some(form) = Regex::new(r"(?s)<form\b.*?</form>")?.find(html) else {
            return Ok(None);
        };
        let attribute = |tag: &str, name: &str| -> anyhow::Result<Option<String>> {
            let pattern = Regex::new(&format!(r#"\b{name}=["']([^"']*)["']"#))?;
            Ok(pattern.captures(tag).and_then(|found| Some(found.get(1)?.as_str().replace("&amp;", "&"))))
        };
        let opening = form.as_str().split('>').next().unwrap_or_default();
        let action = page.join(&attribute(opening, "action")?.unwrap_or_default())?;
        let mut fields = Vec::new();
        for input in Regex::new(r"(?s)<input\b[^>]*>")?.find_iter(form.as_str()) {
            let Some(name) = attribute(input.as_str(), "name")? else { continue };
            let value = match name.as_str() {
                "login" | "username" => "alice".to_owned(),
                "password" => "alice".to_owned(),
                // A consent page has both buttons.
                "cancel" => continue,
                _ => attribute(input.as_str(), "value")?.unwrap_or_default(),
            };
            fields.push((name, value));
        }
        Ok(Some(Self { action, fields }))
    }
}
