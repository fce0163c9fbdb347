//! Against torch.distributions and its automatic differentiation (`scripts/make-distribution-cases.py`).

use super::*;

#[derive(Deserialize)]
struct File {
    cases: Vec<Expected>,
}

#[derive(Deserialize)]
struct Expected {
    #[serde(flatten)]
    case: Case,
    log_probs: Vec<f64>,
    entropies: Vec<f64>,
    log_prob_gradients: Vec<f64>,
    entropy_gradients: Vec<f64>,
}

#[test]
fn log_probabilities_entropies_and_gradients_are_those_of_torch() {
    let file: File = serde_json::from_str(include_str!("../../../tests/data/distribution-cases.json")).unwrap();
    assert_eq!(file.cases.len(), 10);
    for Expected { case, log_probs, entropies, log_prob_gradients, entropy_gradients } in file.cases {
        let n = case.len();
        assert_eq!(n, 6);
        let of_log_probs = case.evaluate(0, &vec![1.0; n], 0.0);
        let of_entropies = case.evaluate(0, &vec![0.0; n], 1.0);
        assert_close(&format!("{}: log-probability", case.name), &of_log_probs.log_probs, &log_probs, 1e-5);
        assert_close(&format!("{}: entropy", case.name), &of_log_probs.entropies, &entropies, 1e-5);
        let what = format!("{}: gradient of the log-probability", case.name);
        assert_close(&what, &of_log_probs.gradient, &log_prob_gradients, 1e-5);
        let what = format!("{}: gradient of the entropy", case.name);
        assert_close(&what, &of_entropies.gradient, &entropy_gradients, 1e-5);
    }
}
