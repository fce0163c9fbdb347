//! A batch on its way to the device: packed on the host into one array, uploaded at once, cut up on the device.
//!
//! Where the size of batches follows the actors, columns are filled up to a power of two: kernels are compiled and tuned for a
//! shape, and so there are few. The columns of the filling have weight 0 in all that is told or trained.

use crate::learn::batch::Columns;
use crate::learn::objective::ReturnScale;
use burn::tensor::{Device, Tensor, TensorData};

/// Rows of observations are filled up to a multiple of this, so that they can be split evenly.
pub(super) const ROWS_MULTIPLE: usize = 128;
/// Sections begin at multiples of this many numbers: 256 bytes, the coarsest alignment of a view of a buffer in the
/// graphics APIs, so that cutting up the array copies nothing where a section's length is such a multiple too.
const SECTION_MULTIPLE: usize = 64;

/// A batch in device memory. Per-frame arrays are `[T * B, 1]`; B counts the filling.
#[derive(Debug)]
pub(super) struct Upload {
    /// T
    pub(super) steps: usize,
    /// B
    pub(super) columns: usize,
    /// Columns of the batch itself.
    pub(super) own_columns: usize,
    /// F: rows of final observations, K filled up to a power of two: few different shapes, so few kernels.
    pub(super) finals: usize,
    /// `[rows, O]`: `(T + 1) * B` observations, F final ones, zeros up to a multiple of [`ROWS_MULTIPLE`].
    pub(super) observations: Tensor<2>,
    /// Actions, whole numbers as floats.
    pub(super) actions: Tensor<2>,
    pub(super) behaviour_log_probs: Tensor<2>,
    /// Scaled and clipped, without bootstrap values.
    pub(super) rewards: Tensor<2>,
    /// 0 where the episode ends.
    pub(super) discounts: Tensor<2>,
    /// Factor on the value of the final observation: the discount where the step is truncated, else 0.
    pub(super) final_discounts: Tensor<2>,
    /// Which of the F final observations is the step's own; whole numbers, 0 where it has none.
    pub(super) final_indices: Tensor<2>,
    /// 1 over the frames of the batch itself; 0 in the filling.
    pub(super) weights: Tensor<2>,
}

impl Upload {
    /// Packs and uploads, filled up to so many columns. Does not wait for the device.
    pub(super) fn new(
        batch: &Columns,
        columns: usize,
        scale: &ReturnScale,
        observation_len: usize,
        device: &Device,
    ) -> Self {
        let (steps, own_columns) = (batch.unroll_length, batch.columns);
        let frames = steps * columns;
        assert_eq!(batch.observation_len, observation_len, "batch and network are of one run");
        let finals = batch.truncated.len().max(1).next_power_of_two();
        // Numbers up to here are whole in f32; a batch with more truncated steps does not fit into a device's memory.
        assert!(finals <= 1 << 24, "{finals} truncated steps in one batch");
        let rows = (frames + columns + finals).next_multiple_of(ROWS_MULTIPLE);

        let (mut rewards, mut discounts) = (Vec::new(), Vec::new());
        scale.apply(batch, &[], &mut rewards, &mut discounts);
        let (mut final_discounts, mut final_indices) = (vec![0.0; frames], vec![0.0; frames]);
        for (index, position) in batch.truncated.iter().enumerate() {
            let position = position / own_columns * columns + position % own_columns;
            final_discounts[position] = scale.discount;
            final_indices[position] = index as f32;
        }
        let actions: Vec<f32> = batch.actions.view().u8().iter().copied().map(f32::from).collect();
        let weights = vec![1.0 / batch.frames() as f32; batch.frames()];
        let filled = |array: &[f32]| filled(array, own_columns, columns);
        let arrays = [
            filled(&actions),
            filled(&batch.behaviour_log_probs),
            filled(&rewards),
            filled(&discounts),
            final_discounts,
            final_indices,
            filled(&weights),
        ];
        let (in_order, finals_observed) = batch.observations.split_at((steps + 1) * own_columns * observation_len);

        let section = frames.next_multiple_of(SECTION_MULTIPLE);
        let observations_len = (rows * observation_len).next_multiple_of(SECTION_MULTIPLE);
        let mut packed = Vec::with_capacity(observations_len + arrays.len() * section);
        packed.append(&mut self::filled(in_order, own_columns * observation_len, columns * observation_len));
        packed.extend_from_slice(finals_observed);
        packed.resize(observations_len, 0.0);
        let mut starts = Vec::with_capacity(arrays.len());
        for array in arrays {
            starts.push(packed.len());
            packed.extend_from_slice(&array);
            packed.resize(packed.len().next_multiple_of(SECTION_MULTIPLE), 0.0);
        }
        let len = packed.len();
        let packed = Tensor::<1>::from_data(TensorData::new(packed, [len]), device);
        let array = |index: usize| packed.clone().narrow(0, starts[index], frames).reshape([frames, 1]);
        Self {
            steps,
            columns,
            own_columns,
            finals,
            observations: packed.clone().narrow(0, 0, rows * observation_len).reshape([rows, observation_len]),
            actions: array(0),
            behaviour_log_probs: array(1),
            rewards: array(2),
            discounts: array(3),
            final_discounts: array(4),
            final_indices: array(5),
            weights: array(6),
        }
    }

    /// Frames of the batch itself.
    pub(super) fn own_frames(&self) -> usize {
        self.steps * self.own_columns
    }

    /// `T * B`, with the filling.
    pub(super) fn frames(&self) -> usize {
        self.steps * self.columns
    }
}

/// Rows of `width` numbers with zeros up to `filled` numbers.
fn filled(rows: &[f32], width: usize, filled: usize) -> Vec<f32> {
    let mut result = Vec::with_capacity(rows.len() / width.max(1) * filled);
    for row in rows.chunks_exact(width.max(1)) {
        result.extend_from_slice(row);
        result.resize(result.len() + filled - width, 0.0);
    }
    result
}
