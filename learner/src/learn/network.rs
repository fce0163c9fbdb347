//! What an update asks of a network, whatever it is made of: observations to outputs, and a gradient of outputs to a gradient
//! of parameters. A network knows nothing of the objective that lies between the two.

/// A network on the host. Rows do not depend on one another, so blocks of a batch may be passed through at the same time.
pub trait Network: Send + Sync {
    /// What a forward pass leaves for the backward pass; its memory is used again by the next block.
    type Pass: std::fmt::Debug + Default + Send;

    /// Takes the parameters of the passes to come, flat in the layout's order.
    fn load(&mut self, parameters: &[f32]);

    /// Numbers that one row needs in a pass: how many rows fit into a cache.
    fn numbers_per_row(&self) -> usize;

    /// Outputs of a block of rows.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`
    /// - outputs: overwritten by `[P + 1, rows]`, a column for each parameter of the policy's distribution, then the values
    fn forward(&self, observations: &[f32], pass: &mut Self::Pass, outputs: &mut Vec<f32>);

    /// Carries the outputs' gradient back to the parameters, once after each forward pass.
    ///
    /// # Shapes
    /// - observations: `[rows, O]`, those of the forward pass
    /// - output_gradient: `[P + 1, frames]`, of the first rows; it is 0 in all others
    /// - gradient: flat in the layout's order, overwritten
    fn backward(&self, observations: &[f32], pass: &mut Self::Pass, output_gradient: &[f32], gradient: &mut [f32]);
}
