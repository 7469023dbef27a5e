//! `restock notify`.

use std::process::ExitCode;

use super::output::{failed, json, note, print};
use super::table::Table;
use crate::usecases::Restock;

/// Shows the receivers, or sends each a message.
pub async fn notify(restock: &Restock, test: bool, as_json: bool) -> ExitCode {
    let receivers = match restock.service.receivers().await {
        Ok(receivers) => receivers,
        Err(error) => return failed(&error, as_json),
    };
    if receivers.is_empty() && as_json {
        json(&receivers);
        return ExitCode::SUCCESS;
    }
    if receivers.is_empty() {
        note("error: nobody is to be told anything");
        note("hint: describe receivers under the key `notify` of the file that --config names");
        return ExitCode::FAILURE;
    }
    if test {
        return send(restock, as_json).await;
    }
    if as_json {
        json(&receivers);
        return ExitCode::SUCCESS;
    }
    let mut rows = Table::new(["RECEIVER", "TYPE", "EVENTS", "WAITING"]);
    for view in receivers {
        let events: Vec<_> = view.events.iter().map(ToString::to_string).collect();
        rows.row([view.receiver, view.kind.to_owned(), events.join(", "), view.waiting.to_string()]);
    }
    print(&rows);
    ExitCode::SUCCESS
}

async fn send(restock: &Restock, as_json: bool) -> ExitCode {
    let tested = restock.service.test_receivers().await;
    let all = tested.iter().all(|tested| tested.delivered);
    if as_json {
        json(&tested);
    } else {
        let mut rows = Table::new(["RECEIVER", "TYPE", "DELIVERED"]);
        for tested in tested {
            let delivered = if tested.delivered { "yes" } else { "no" };
            rows.row([tested.receiver, tested.kind.into(), delivered.into()]);
            if let Some(error) = &tested.error {
                rows.about(error);
            }
        }
        print(&rows);
    }
    if all { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
