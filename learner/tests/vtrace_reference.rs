//! V-trace against rlax and against the paper's sum in double precision (`data/vtrace_cases.json`).

use impala_learner::learn::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns, vtrace};
use serde_json::Value;

#[test]
fn every_reference_case_agrees_to_1e_5() {
    let file: Value = serde_json::from_str(include_str!("data/vtrace_cases.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 11);
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let inputs = &case["inputs"];
        let actions = flat(&inputs["actions"]);
        let behaviour_log_probs = log_probs(&flat(&inputs["behaviour_logits"]), &actions);
        let target_log_probs = log_probs(&flat(&inputs["target_logits"]), &actions);
        let as_f32 = |key: &str| flat(&inputs[key]).iter().map(|x| *x as f32).collect::<Vec<_>>();
        let number = |key: &str| case[key].as_f64().unwrap() as f32;
        let mut returns = VtraceReturns::default();
        vtrace(
            &VtraceInputs {
                columns: case["B"].as_u64().unwrap() as usize,
                behaviour_log_probs: &behaviour_log_probs,
                target_log_probs: &target_log_probs,
                discounts: &as_f32("discounts"),
                rewards: &as_f32("rewards"),
                values: &as_f32("values"),
                bootstrap_values: &as_f32("bootstrap_value"),
            },
            &VtraceClipping {
                rho_bar: number("rho_bar"),
                c_bar: number("c_bar"),
                lambda: number("lambda_"),
                pg_rho_bar: number("pg_rho_bar"),
            },
            &mut returns,
        );
        let expected_vs = flat(&case["expected"]["vs"]);
        let scale = expected_vs.iter().fold(1.0_f64, |m, x| m.max(x.abs()));
        let check = |what: &str, actual: &[f32], expected: &[f64]| {
            assert_eq!(actual.len(), expected.len(), "{name}: {what}");
            let errors = actual.iter().zip(expected).map(|(a, e)| (f64::from(*a) - e).abs() / scale);
            let worst = errors.fold(0.0, f64::max);
            assert!(worst <= 1e-5, "{name}: {what} is off by {worst:e} of {scale}");
        };
        check("vs", &returns.vs, &expected_vs);
        check("advantages", &returns.pg_advantages, &flat(&case["expected"]["pg_advantages_paper"]));
        if let Some(rlax) = case["rlax"].as_object() {
            check("rlax vs", &returns.vs, &flat(&rlax["vs"]));
        }
    }
}

fn flat(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(flat).collect(),
        number => vec![number.as_f64().expect("a number")],
    }
}

/// `logits` `[.., A]`, one action a row; in double precision, so that the rounding under test is V-trace's own.
fn log_probs(logits: &[f64], actions: &[f64]) -> Vec<f32> {
    let rows = logits.chunks_exact(logits.len() / actions.len());
    rows.zip(actions)
        .map(|(row, action)| {
            let max = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = row.iter().map(|l| (l - max).exp()).sum();
            (row[*action as usize] - max - sum.ln()) as f32
        })
        .collect()
}
