//! A learner step on an accelerator: one upload of the batch, then everything on the device, then a few numbers back, at once.
//!
//! Work is queued and not waited for, so a caller that comes with the next batch packs and uploads it while the device is
//! still busy with the one before ([`DeviceStep::advance`]). The numbers of an update that ran away are kept out of the
//! parameters on the device itself, so that nothing is lost by hearing of it late.
//!
//! Knows burn's tensors and no particular backend; the tests run it on the CPU.

mod loss;
mod network;
mod optimiser;
mod upload;
mod vtrace;

use super::{Diverged, StepConfig, StepReport};
use crate::learn::batch::{Batch, Columns};
use crate::learn::compute::ComputeDevice;
use crate::learn::loss::Losses;
use crate::learn::model::floats;
use crate::learn::normalise::InputScale;
use crate::learn::optim::OptimiserState;
use crate::learn::ratios::RatioStatistics;
use crate::learn::value_fit::ValueFit;
use burn::tensor::{Device, Tensor};
use impala_policy::network::NetworkSpec;
use loss::{Constants, LossTensors, Outputs};
use network::DeviceNetwork;
use optimiser::{Applied, DeviceOptimiser};
use upload::Upload;
use vtrace::Scan;

/// Parameters and optimiser in device memory.
#[derive(Debug)]
pub(super) struct DeviceStep {
    config: StepConfig,
    device: Device,
    /// The whole batch, before it is packed.
    gathered: Columns,
    network: DeviceNetwork,
    optimiser: DeviceOptimiser,
    constants: Constants,
    /// `[P]`, in the network's device order.
    parameters: Tensor<1>,
    /// `[P]`, of the newest update, before clipping, with the factor `[1]` that clips and scales it.
    gradient: Option<(Tensor<1>, Tensor<1>)>,
    /// Made for the unroll length of the newest batch.
    scan: Option<Scan>,
    /// The numbers of an update that nobody has asked for.
    pending: Option<Tensor<1>>,
    /// Host copies, flat in the layout's order; of the parameters as long as they are the newest.
    parameters_read: Option<Vec<f32>>,
    gradient_read: Vec<f32>,
}

impl DeviceStep {
    pub(super) fn new(spec: &NetworkSpec, parameters: &[f32], config: StepConfig, device: &ComputeDevice) -> Self {
        let device = device.plain().clone();
        let network = DeviceNetwork::new(spec);
        let parameters = network.upload(parameters, &device);
        let optimiser = DeviceOptimiser::new(config.optimiser, config.divisor, network.len(), &device);
        Self {
            config,
            constants: Constants::new(network.action_count(), config.costs, &device),
            device,
            gathered: Columns::default(),
            network,
            optimiser,
            parameters,
            gradient: None,
            scan: None,
            pending: None,
            parameters_read: None,
            gradient_read: Vec::new(),
        }
    }

    /// The flat parameters; waits for the device and reads them back if there was an update since the last call.
    pub(super) fn parameters(&mut self) -> &[f32] {
        let (network, parameters) = (&self.network, &self.parameters);
        self.parameters_read.get_or_insert_with(|| network.download(parameters))
    }

    /// What the optimiser has gathered, flat in the layout's order; waits for the device.
    pub(super) fn optimiser_state(&self) -> OptimiserState {
        self.optimiser.state(|moments| self.network.download(moments))
    }

    /// # Panics
    /// If the state belongs to another number of parameters.
    pub(super) fn restore_optimiser(&mut self, state: &OptimiserState) {
        self.optimiser.restore(state, |moments| self.network.upload(moments, &self.device));
    }

    /// The gradient of the newest update, flat, after clipping and scaling; read back on every call.
    pub(super) fn gradient(&mut self) -> &[f32] {
        if let Some((gradient, clip)) = &self.gradient {
            self.gradient_read = self.network.download(&(gradient.clone() * clip.clone()));
        }
        &self.gradient_read
    }

    /// One update, whose gradient is clipped, then multiplied by `scale`; waited for.
    ///
    /// # Errors
    /// As for [`DeviceStep::finish`]; also if an update before ran away.
    pub(super) fn run(
        &mut self,
        batch: &Batch,
        inputs: &InputScale,
        learning_rate: f32,
        scale: f32,
    ) -> Result<StepReport, Diverged> {
        self.advance(batch, inputs, learning_rate, scale)?;
        self.finish().map(|report| report.expect("an update has just begun"))
    }

    /// Begins an update and gives the report of the one before, unless it was asked for already.
    ///
    /// # Errors
    /// The update before ran away; it left the parameters as they were, and this one has not begun.
    pub(super) fn advance(
        &mut self,
        batch: &Batch,
        inputs: &InputScale,
        learning_rate: f32,
        scale: f32,
    ) -> Result<Option<StepReport>, Diverged> {
        batch.gather(0..batch.columns(), &mut self.gathered);
        inputs.apply(&mut self.gathered);
        let returns = self.config.objective().returns;
        let columns = self.config.filled_columns(batch.columns());
        let upload = Upload::new(&self.gathered, columns, &returns, self.network.observation_len(), &self.device);
        let before = self.finish()?;
        self.begin(&upload, learning_rate, scale);
        Ok(before)
    }

    /// Waits for the update under way; gives its report, or none if there is no such update.
    ///
    /// # Errors
    /// The gradient or the updated parameters are not finite; the parameters are left as they were.
    pub(super) fn finish(&mut self) -> Result<Option<StepReport>, Diverged> {
        let Some(pending) = self.pending.take() else { return Ok(None) };
        let data = pending.into_data();
        let [
            policy,
            baseline,
            entropy,
            approximate_kl,
            error,
            target,
            squared_target,
            total,
            squares,
            accepted,
            change,
            effective,
            clipped,
            origin,
        ] = floats(&data)
        else {
            unreachable!("`begin` leaves fourteen numbers")
        };
        let losses = Losses { total: *total, policy: *policy, baseline: *baseline, entropy: *entropy };
        let gradient_norm = squares.sqrt();
        if *accepted != 1.0 || !gradient_norm.is_finite() || !total.is_finite() {
            self.optimiser.forget_step();
            return Err(Diverged { gradient_norm, loss: *total });
        }
        let ratios =
            RatioStatistics { effective: *effective, clipped: *clipped, approximate_kl: approximate_kl.max(0.0) };
        let moments = [*error, 2.0 * baseline, *target, *squared_target].map(f64::from);
        let values = ValueFit::of_moments(moments, f64::from(*origin));
        Ok(Some(StepReport { losses, gradient_norm, update_norm: change.sqrt(), ratios, values, noise: None }))
    }

    /// Queues the whole update.
    fn begin(&mut self, upload: &Upload, learning_rate: f32, scale: f32) {
        let scan = match self.scan.take() {
            Some(scan) if scan.steps() == upload.steps => scan,
            _ => Scan::new(upload.steps, &self.device),
        };
        let layers = self.network.layers(&self.parameters);
        let pass = self.network.forward(&layers, upload.observations.clone());
        let outputs = Outputs::new(&pass, upload, self.network.action_count());
        let ratios = outputs.ratios(upload, self.config.clipping.rho_bar);
        let returns =
            vtrace::vtrace(&outputs.vtrace_inputs(upload, self.config.correction), &self.config.clipping, &scan);
        let loss = outputs.loss(upload, &returns, self.config.costs, &self.constants);
        let LossTensors { means, total, origin, gradient: output_gradient } = loss;
        let gradient = self.network.backward(&layers, pass, output_gradient, &self.device);

        let squares = (gradient.clone() * gradient.clone()).sum();
        join_up_to_here(&squares);
        // A norm of 0 gives infinity, and no clipping.
        let clip = squares.clone().sqrt().recip().mul_scalar(self.config.gradient_norm_max).clamp_max(1.0);
        let clip = clip.mul_scalar(scale);
        let is_finite = optimiser::is_finite(squares.clone()) * optimiser::is_finite(total.clone());
        join_up_to_here(&is_finite);
        let clipped = gradient.clone() * clip.clone();
        let Applied { accepted, change } = self.optimiser.step(&mut self.parameters, clipped, learning_rate, is_finite);

        self.gradient = Some((gradient, clip));
        self.parameters_read = None;
        self.scan = Some(scan);
        self.pending = Some(Tensor::cat(vec![means, total, squares, accepted, change, ratios, origin], 0));
        join_up_to_here(&self.parameters);
    }
}

/// Hands over what is queued. A backend that fuses joins neighbouring operations of one shape to one kernel; where shapes
/// alternate it may find no order for its kernels and then joins nothing at all, so such places are cut by hand.
fn join_up_to_here<const D: usize>(newest: &Tensor<D>) {
    // An error here is one of the device and comes back with the numbers.
    let _ = newest.device().flush();
}

#[cfg(test)]
pub(super) mod tests;
