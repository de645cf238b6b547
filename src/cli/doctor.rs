//! `doctor`: everything that a sync looks at before its first write, on one screen.

use serde_json::json;

use super::args::DoctorArgs;
use super::end::{Details, Ended, Outcome};
use super::output::{print_all, print_json};
use super::session::Session;
use crate::config::Endpoint;
use crate::dependents::Agreement;
use crate::doctor::{About, Diagnosis, Finding, Grade, examine};
use crate::error::Result;
use crate::preflight::guard::empty_source::EmptySource;
use crate::preflight::{GuardOptions, Sides};
use crate::sync::request::Rehearsal;

pub(super) async fn run(session: &Session, args: &DoctorArgs) -> Result<Ended> {
    let sides = session.sides(&args.owner, None)?;
    let guards = GuardOptions {
        owner: args.owner.wanted(),
        mark_development: args.mark.mark_development.clone(),
        agreement: Agreement::ByQuestion,
        empty_source: EmptySource::Refused,
    };
    let rehearsal = if args.rehearse { Rehearsal::Wanted } else { Rehearsal::LeftOut };
    let examined =
        session.unless_interrupted(async { Ok(Box::pin(examine(&sides, &guards, rehearsal)).await) }).await;
    tokio::join!(sides.source.server().close(), sides.target.server().close());
    let diagnosis = examined?;
    if session.screen.is_json() {
        diagnosis.findings.iter().for_each(|finding| print_json(&line(finding)));
    } else {
        print_all(screen(&sides, &diagnosis));
    }
    let is_problem = |finding: &&Finding| matches!(finding.grade, Grade::Problem(_));
    let details = Details::Doctor { problems: diagnosis.findings.iter().filter(is_problem).count() };
    Ok(match diagnosis.into_outcome() {
        Ok(()) => Ended::new(Outcome::Healthy, details),
        Err(error) => Ended::failed(error, details),
    })
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
    lines
}
