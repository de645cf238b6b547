//! `doctor`: everything that a sync looks at before its first write, on one screen.

use serde_json::json;

use super::args::DoctorArgs;
use super::output::{print_all, print_json};
use super::session::Session;
use crate::config::Endpoint;
use crate::dependents::Agreement;
use crate::doctor::{About, Diagnosis, Finding, Grade, examine};
use crate::error::Result;
use crate::preflight::guard::empty_source::EmptySource;
use crate::preflight::{Sides, Wishes};
use crate::sync::request::Rehearsal;

pub(super) async fn run(session: &Session, args: &DoctorArgs) -> Result<()> {
    let sides = session.sides(&args.owner, None)?;
    let wishes = Wishes {
        owner: args.owner.wanted(),
        mark_development: args.mark.mark_development.clone(),
        agreement: Agreement::ByQuestion,
        empty_source: EmptySource::Refused,
    };
    let rehearsal = if args.rehearse { Rehearsal::Wanted } else { Rehearsal::LeftOut };
    let examined =
        session.unless_interrupted(async { Ok(Box::pin(examine(&sides, &wishes, rehearsal)).await) }).await;
    tokio::join!(sides.source.server().close(), sides.target.server().close());
    let diagnosis = examined?;
    if session.screen.is_json() {
        diagnosis.findings.iter().for_each(|finding| print_json(&line(finding)));
    } else {
        print_all(screen(&sides, &diagnosis));
    }
    diagnosis.into_outcome()?;
    if session.screen.is_json() {
        session.end(&json!({ "event": "end", "outcome": "healthy", "exit_code": 0, "error": null }));
    }
    Ok(())
}

fn line(finding: &Finding) -> serde_json::Value {
    let Finding { about, what, found, grade } = finding;
    let (grade, fix, exit_code) = match grade {
        Grade::Fine => ("fine", None, 0),
        Grade::Note(fix) => ("note", fix.clone(), 0),
        Grade::Problem(error) => ("problem", error.hint_and_lines(), error.kind.exit_code()),
    };
    json!({
        "event": "finding",
        "about": about,
        "what": what,
        "found": found,
        "grade": grade,
        "fix": fix,
        "exit_code": exit_code,
    })
}

fn screen(sides: &Sides, diagnosis: &Diagnosis) -> Vec<String> {
    let place = |endpoint: &Endpoint| format!("{}  {endpoint}  {}", endpoint.side, endpoint.origin);
    let mut lines = Vec::new();
    for (about, title) in [
        (About::Source, place(sides.source.server().endpoint())),
        (About::Target, place(sides.target.server().endpoint())),
        (About::Both, "both".into()),
    ] {
        let findings: Vec<&Finding> =
            diagnosis.findings.iter().filter(|finding| finding.about == about).collect();
        if !findings.is_empty() {
            lines.push(title);
        }
        for Finding { what, found, grade, .. } in findings {
            let (mark, fix) = match grade {
                Grade::Fine => ("ok", None),
                Grade::Note(fix) => ("note", fix.as_ref()),
                Grade::Problem(error) => ("FAIL", error.hint.as_ref()),
            };
            lines.push(format!("  {mark:5}  {what:12}  {found}"));
            lines.extend(fix.map(|fix| format!("         {:12}  fix: {fix}", "")));
            if let Grade::Problem(error) = grade {
                lines.extend(error.lines.iter().map(|line| format!("{:25}{line}", "")));
            }
        }
    }
    let count =
        |is: fn(&Grade) -> bool| diagnosis.findings.iter().filter(|finding| is(&finding.grade)).count();
    let problems = count(|grade| matches!(grade, Grade::Problem(_)));
    lines.push(match problems {
        0 => "Nothing blocks a sync.".into(),
        1 => "1 problem blocks a sync.".into(),
        _ => format!("{problems} problems block a sync."),
    });
    lines
}
