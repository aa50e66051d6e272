//! The status as a page for a browser, which asks for it again every two seconds.

use std::time::Duration;

use indicatif::HumanCount;
use maud::{DOCTYPE, Markup, html};

use super::report::{BudgetReport, Failure, PipelineReport, PipelineSinkReport, StatusReport};
use super::status_text::sentence;
use crate::observe::Rough;

/// The page needs no other file, and runs no script.
pub(super) const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
                                 frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
    body { font: 15px/1.4 system-ui, sans-serif; margin: 2em; color-scheme: light dark }\
    table { border-collapse: collapse; margin: .5em 0 1.5em }\
    th, td { padding: .25em 1em .25em 0; text-align: left; vertical-align: top }\
    td.n, th.n { text-align: right }\
    th { font-weight: 600; border-bottom: 1px solid }\
    .good { color: #18794e } .bad { color: #cd2b31 } .busy { color: #ad5700 }\
    meter { width: 12em }";

/// The report as HTML. Texts of accounts and brokers may be in it, and are escaped.
pub(super) fn status_page(report: &StatusReport) -> String {
    let StatusReport { version, phase, uptime_seconds, .. } = report;
    let up = humantime::format_duration(Duration::from_secs(*uptime_seconds));
    let (health, class) = match (report.alive, report.ready) {
        (false, _) => ("stuck", "bad"),
        (true, true) => ("ready", "good"),
        (true, false) => ("not ready", "bad"),
    };
    let failing = report.sinks.iter().filter_map(|sink| Some((&sink.name, sink.writing.as_ref()?)));
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="refresh" content="2";
                title { (health) " · cosmos-bridge" }
                style { (maud::PreEscaped(STYLE)) }
            }
            body {
                h1 { "cosmos-bridge " span class=(class) { (health) } }
                p { (version) ", " (phase) " for " (up) }
                @if let Some(cause) = &report.held_back_by { p { "held back by " (cause) } }
                ul {
                    @for reason in &report.reasons { li class="bad" { (sentence(reason)) } }
                    @for (name, failure) in failing { li class="bad" { (failed(name, failure)) } }
                }
                @for one in &report.pipelines { (pipeline(one)) }
                @if !report.budgets.is_empty() { (budgets(&report.budgets)) }
                p { a href="status" { "status as JSON" } " · " a href="metrics" { "metrics" } }
            }
        }
    };
    page.into_string()
}

fn failed(what: &str, Failure { error, for_seconds }: &Failure) -> String {
    format!("{what} fails for {for_seconds} s: {error}")
}

fn pipeline(pipeline: &PipelineReport) -> Markup {
    let PipelineReport { name, read, filtered, ranges, .. } = pipeline;
    let failures = [("reading", &pipeline.reading), ("storing positions", &pipeline.storing)];
    html! {
        h2 { "pipeline " (name) }
        p { (HumanCount(*read)) " read, " (HumanCount(*filtered)) " filtered, " (ranges) " feed ranges" }
        ul {
            @for (what, failure) in failures {
                @if let Some(failure) = failure { li class="bad" { (failed(what, failure)) } }
            }
            @for parked in &pipeline.parked {
                li class="bad" {
                    (parked.range) " is parked for " (parked.sink.as_deref().unwrap_or("all sinks"))
                    ": " (parked.error)
                }
            }
            @for sink in pipeline.sinks.iter().filter(|sink| sink.ledger.missing != 0) {
                li class="bad" {
                    (sink.ledger.missing) " changes for " (sink.name) " are missing in the ledger"
                }
            }
        }
        table {
            tr {
                th { "sink" } th { "state" } th class="n" { "lag" } th class="n" { "documents behind" }
                th class="n" { "delivered" } th class="n" { "per second" }
                th class="n" { "dead letters" } th class="n" { "read again" }
                th class="n" { "history left" }
            }
            @for one in &pipeline.sinks { (sink(one)) }
        }
    }
}

fn sink(sink: &PipelineSinkReport) -> Markup {
    let class = match sink.state.as_str() {
        "caught up" => "good",
        "failing" | "parked" => "bad",
        _ => "busy",
    };
    let behind = sink.lag_documents.map_or_else(|| "?".to_owned(), |n| HumanCount(n).to_string());
    let left = sink.history_left_seconds.map(Duration::from_secs);
    let history = left.map_or_else(|| "-".to_owned(), |left| Rough(left).to_string());
    let letters = (sink.dead_letters_stored > 0).then_some("bad");
    html! {
        tr {
            td { (sink.name) } td class=(class) { (sink.state) }
            td class="n" { (sink.lag_seconds) " s" } td class="n" { (behind) }
            td class="n" { (HumanCount(sink.delivered)) } td class="n" { (sink.per_second) }
            td class="n" { span class=[letters] { (HumanCount(sink.dead_letters_stored)) } }
            td class="n" { (HumanCount(sink.read_again)) }
            td class="n" { (history) }
        }
    }
}

fn budgets(budgets: &[BudgetReport]) -> Markup {
    html! {
        h2 { "request units" }
        table {
            tr {
                th { "container" } th { "for" } th class="n" { "RU/s" } th class="n" { "budget" }
                th { "use" } th class="n" { "throttled" }
            }
            @for one in budgets {
                tr {
                    td { (one.container) } td { (one.direction) }
                    td class="n" { (format!("{:.0}", one.ru_per_second)) }
                    @if let Some(budget) = one.budget {
                        td class="n" { (format!("{budget:.0}")) }
                        td { meter min="0" max=(budget) value=(one.ru_per_second) {} }
                    } @else {
                        td class="n" { "unlimited" } td {}
                    }
                    td class="n" { (HumanCount(one.throttled)) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::status_page;
    use crate::admin::StatusReport;

    fn report(error: &str, ready: bool, budget: Option<f64>) -> StatusReport {
        serde_json::from_value(serde_json::json!({
            "version": "1.2.3", "phase": "running", "uptime_seconds": 90, "alive": true,
            "ready": ready,
            "reasons": if ready { vec![] } else {
                vec![serde_json::json!({"cause": "sink_down", "sink": "events", "for_seconds": 301})]
            },
            "held_back_by": "sink events is down",
            "pipelines": [{
                "name": "orders", "read": 12345, "filtered": 1, "ranges": 4, "parked": [],
                "reading": {"error": error, "for_seconds": 5}, "storing": null,
                "sinks": [{
                    "name": "events", "state": "failing", "lag_seconds": 7, "lag_documents": null,
                    "delivered": 12000, "per_second": 3.5, "dead_letters": 1,
                    "dead_letters_stored": 2, "caught_up_ranges": 0, "ranges_behind": 0,
                    "ranges_catching_up": 0, "read_again": 0, "spool_bytes": 0,
                    "last_checkpoint_seconds": 1
                }]
            }],
            "sinks": [{"name": "events", "requests": 9, "throttled": 0,
                "writing": {"error": error, "for_seconds": 301}}],
            "budgets": [{"container": "account/shop/orders", "direction": "read", "budget": budget,
                "ru_per_second": 12.25, "ru": 100.0, "requests": 9, "throttled": 0,
                "expected_to_charged": null}]
        }))
        .unwrap()
    }

    #[test]
    fn the_page_shows_what_the_status_has() {
        let page = status_page(&report("refused", false, Some(400.0)));
        for text in [
            "not ready · cosmos-bridge",
            "1.2.3, running for 1m 30s",
            "held back by sink events is down",
            "sink events has failed for 301 s",
            "events fails for 301 s: refused",
            "reading fails for 5 s: refused",
            "12,345 read, 1 filtered, 4 feed ranges",
            "<td class=\"bad\">failing</td>",
            "<td class=\"n\">12,000</td>",
            "<meter min=\"0\" max=\"400\" value=\"12.25\">",
        ] {
            assert!(page.contains(text), "{text}: {page}");
        }
        let page = status_page(&report("refused", true, None));
        assert!(page.contains("<span class=\"good\">ready</span>"), "{page}");
        assert!(page.contains("unlimited") && !page.contains("<meter"), "{page}");
    }

    #[test]
    fn texts_of_others_are_no_markup() {
        let page = status_page(&report("<script>alert('1')</script> & \"more\"", false, None));
        assert!(!page.contains("<script"), "{page}");
        assert!(page.contains("&lt;script&gt;"), "{page}");
    }
}
