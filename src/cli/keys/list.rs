//! `lingpai keys list`

use clap::Args;
use serde_json::json;

use super::{Done, Place, SHORT_KID};
use crate::cli::table::{Column, Table};
use crate::cli::{complain, say, say_json};
use crate::clock::Timestamp;
use crate::files::shown;
use crate::keys::Scheduled;

#[derive(Args)]
pub(in crate::cli) struct ListArguments {
    /// Show full ids and every instant, however wide the table becomes.
    #[arg(long)]
    wide: bool,
}

impl Place<'_> {
    pub(super) fn list(&self, arguments: &ListArguments) -> Done {
        let schedule = self.schedule();
        if self.settings.json {
            let row = |one: &Scheduled<'_>| {
                json!({
                    "from": one.key.name().from.rfc3339(), "state": one.state.word(), "alg": one.key.name().alg.name(),
                    "kid": one.key.kid().as_str(), "file": self.path(one.key).to_string_lossy(),
                    "signs_until": one.signs_until.map(Timestamp::rfc3339),
                    "published_until": one.published_until.map(Timestamp::rfc3339),
                    "verifies_until": one.verifies_until.map(Timestamp::rfc3339),
                })
            };
            return Ok(say_json(&schedule.iter().map(row).collect())?);
        }
        if schedule.is_empty() {
            let folder = shown(&self.config.keys.path);
            complain(&format!("{folder}: there is no key; make one with `lingpai keys new`"));
            return Ok(());
        }
        let written = |at: Option<Timestamp>| at.map_or_else(|| "-".to_owned(), Timestamp::rfc3339);
        let fixed = Column::fixed;
        let row = |one: &Scheduled<'_>| {
            let (name, kid) = (one.key.name(), one.key.kid().as_str());
            (name.from.rfc3339(), one.state.word().to_owned(), name.alg.name().to_owned(), kid.to_owned())
        };
        if arguments.wide {
            let titles = ["SIGNS FROM", "STATE", "ALG", "KID", "SIGNS UNTIL", "VERIFIES UNTIL"];
            let mut table = Table::new(titles.map(fixed));
            for one in &schedule {
                let (from, state, alg, kid) = row(one);
                table.row([from, state, alg, kid, written(one.signs_until), written(one.verifies_until)]);
            }
            return Ok(say(&table.text(None))?);
        }
        // When a key stops signing is when the next one starts.
        let mut table = Table::new(["SIGNS FROM", "STATE", "ALG", "KID", "VERIFIES UNTIL"].map(fixed));
        for one in &schedule {
            let (from, state, alg, kid) = row(one);
            let kid = kid.chars().take(SHORT_KID).chain(['…']).collect();
            table.row([from, state, alg, kid, written(one.verifies_until)]);
        }
        Ok(say(&table.text(None))?)
    }
}
