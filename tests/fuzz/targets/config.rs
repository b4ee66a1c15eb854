//! The configuration: what is accepted is within its caps and is TOML that others read alike; what is refused is
//! refused in one line that names the place and repeats no secret.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use lingpai::app;
use lingpai::clients::Registry;
use lingpai::config::{Client, Config, ConfigError, Overrides};
use lingpai::token::{ACCESS_CAP, LEEWAY_CAP, REFRESH_CAP, SESSION_CAP};

const PATH: &str = "/etc/lingpai.toml";

fuzz_target!(|content: &str| {
    match read(content) {
        Ok((config, clients, registry)) => accepted(content, &config, &clients, &registry),
        Err(error) => refused(content, &error.to_string()),
    }
});

fn read(content: &str) -> Result<(Config, Vec<Client>, Registry), ConfigError> {
    let config = Config::parse(Path::new(PATH), content.to_owned(), Overrides::default())?;
    let registry = Registry::compile(&config)?;
    app::plan(&config, &registry)?;
    let clients = config.clients().collect::<Result<_, _>>()?;
    Ok((config, clients, registry))
}

fn accepted(content: &str, config: &Config, clients: &[Client], registry: &Registry) {
    let longest = registry.longest();
    assert!((1..=ACCESS_CAP).contains(&longest.access));
    assert!((1..=REFRESH_CAP).contains(&longest.refresh));
    assert!((1..=SESSION_CAP).contains(&longest.session));
    assert!((0..=LEEWAY_CAP).contains(&config.token.leeway));
    let issuer = config.issuer.as_str();
    assert!(issuer.starts_with("https://") || issuer.starts_with("http://"));
    assert!(!issuer.ends_with('/') && !issuer.contains(['?', '#', ' ', '"']));
    assert!(!config.listen.is_empty());

    // The file is read in pieces; as a whole it says the same.
    let whole: toml::Table = content.parse().unwrap();
    let tables = whole.get("clients").and_then(toml::Value::as_array).map_or(&[][..], Vec::as_slice);
    let ids: Vec<_> = tables.iter().map(|table| table["id"].as_str().unwrap()).collect();
    assert_eq!(clients.iter().map(|client| client.id.get_ref().as_str()).collect::<Vec<_>>(), ids);
    assert_eq!(registry.len(), ids.len());
    for client in clients {
        let compiled = registry.named(client.id.get_ref()).unwrap();
        assert!(compiled.scope.iter().eq(sorted(&client.scope)), "{compiled:?}");
        assert!(registry.authenticate(client.id.get_ref(), b"").is_none());
    }
}

fn sorted(texts: &[lingpai::config::Text]) -> Vec<&str> {
    let mut all: Vec<_> = texts.iter().map(|text| text.get_ref().as_str()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn refused(content: &str, message: &str) {
    assert!(!message.contains(char::is_control), "{message:?}");
    for secret in secrets(content) {
        assert!(!message.contains(secret), "{message:?} repeats {secret}");
    }
    let said = message.strip_prefix(PATH).unwrap();
    // The one setting that must be there, and what the parser gives no place for.
    if said.starts_with(": `issuer` is missing") || said == ": nested more deeply than any setting is" {
        return;
    }
    let mut place = said.split(':').skip(1).map(str::parse::<usize>);
    let (Some(Ok(line)), Some(Ok(column))) = (place.next(), place.next()) else { panic!("no place in {message:?}") };
    let written = content.split('\n').nth(line - 1).unwrap_or_else(|| panic!("no such line: {message:?}"));
    assert!((1..=written.chars().count() + 1).contains(&column), "no such column: {message:?}");
    // Where the message repeats a name, that stands there, as it is or in quotation marks.
    let named = said.split_once("unknown field `").and_then(|(_, rest)| rest.split_once('`'));
    if let Some((name, _)) = named.filter(|(name, _)| !name.is_empty() && name.chars().all(is_of_word)) {
        let there: String = written.chars().skip(column - 1).collect();
        assert!(there.starts_with(name) || there.starts_with(['"', '\'']), "{message:?} is about {there:?}");
    }
}

/// What looks like a secret or a digest, is long enough to be one and no other word, and stands nowhere without its mark.
fn secrets(content: &str) -> impl Iterator<Item = &str> {
    let marked = ["lps_", "sha256:"].into_iter().flat_map(move |mark| {
        let words =
            content.split(mark).skip(1).map(move |rest| &rest[..rest.find(|c| !is_of_word(c)).unwrap_or(rest.len())]);
        words.filter(move |word| content.matches(word).count() == content.matches(&[mark, word].concat()).count())
    });
    marked.filter(|word| word.len() >= 20)
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}
