//! Files that come back as they were, and files that are not what they should be.

use super::*;
use proptest::prelude::*;

fn description() -> ModelDescription {
    let environment = "cartpole-v1".parse().unwrap();
    ModelDescription { environment, activation: Activation::Relu, frames: 80, updates: 1 }
}

fn model(hidden: Vec<usize>) -> Model {
    let network = NetworkSpec {
        observation_len: 4,
        hidden,
        activation: Activation::Relu,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let parameters = (0..network.parameter_count()).map(|i| i as f32 * 0.37 - 1.0).collect();
    Model { description: description(), network, parameters }
}

fn bytes(model: &Model) -> Vec<u8> {
    encode(&model.network, &model.parameters, &model.description).unwrap()
}

/// A checkpoint of format 1 that an earlier release wrote.
const CHECKPOINT: &[u8] = include_bytes!("../../../learner/tests/data/checkpoint-format-1.safetensors");

#[test]
fn the_reference_reader_finds_every_block_bit_for_bit() {
    let model = model(vec![3]);
    let bytes = bytes(&model);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = &header.metadata().as_ref().unwrap()[METADATA_KEY];
    assert_eq!(metadata, r#"{"environment":"cartpole-v1","activation":"relu","frames":80,"updates":1}"#);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(file.len(), model.network.layout().len());
    for block in model.network.layout() {
        let tensor = file.tensor(&block.name).unwrap();
        assert_eq!(tensor.shape(), block.shape);
        let numbers: Vec<f32> = tensor.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        assert_eq!(numbers, model.parameters[block.range]);
    }
}

#[test]
fn a_model_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("model.safetensors");
    for hidden in [vec![], vec![3], vec![3, 5, 2]] {
        let mut model = model(hidden);
        std::fs::write(&path, bytes(&model)).unwrap();
        assert_eq!(load(&path).unwrap(), model);
        model.network.normalises = true;
        model.parameters.extend([0.5; 8]);
        std::fs::write(&path, bytes(&model)).unwrap();
        assert_eq!(load(&path).unwrap(), model);
    }
}

#[test]
fn a_network_deeper_than_any_that_can_be_trained_is_refused() {
    let deepest = model(vec![1; HIDDEN_LAYERS_MAX]);
    assert_eq!(decode(&bytes(&deepest)).unwrap(), deepest);
    for layers in [HIDDEN_LAYERS_MAX + 1, 3000] {
        let error = decode(&bytes(&model(vec![1; layers]))).unwrap_err().to_string();
        assert_eq!(error, "its network has more than 64 hidden layers, the most that are allowed");
    }
}

#[test]
fn the_weights_of_a_checkpoint_are_a_model() {
    let model = decode(CHECKPOINT).unwrap();
    assert_eq!((model.network.observation_len, &model.network.head), (4, &PolicyHead::single(2)));
    assert_eq!((model.network.hidden.as_slice(), model.network.activation), ([8].as_slice(), Activation::Tanh));
    assert_eq!(model.description.environment.as_str(), "cartpole-v1");
    assert_eq!((model.description.updates, model.description.frames), (10, 1600));
    assert!(model.parameters.iter().any(|x| *x != 0.0));
}

#[test]
fn what_is_no_model_is_said_to_be_none() {
    let refusal = |bytes: &[u8]| decode(bytes).unwrap_err().to_string();
    assert!(refusal(b"").contains("damaged or no safetensors file"));
    let sound = bytes(&model(vec![3]));
    let file = SafeTensors::deserialize(&sound).unwrap();
    let with = |metadata: Option<(&str, &str)>,
                change: &dyn Fn(&str, TensorView<'static>) -> Option<TensorView<'static>>| {
        let leaked: &'static [u8] = Box::leak(sound.clone().into_boxed_slice());
        let tensors = SafeTensors::deserialize(leaked).unwrap().tensors().into_iter();
        let tensors: Vec<_> = tensors.filter_map(|(name, view)| Some((name.clone(), change(&name, view)?))).collect();
        let metadata = metadata.map(|(key, text)| HashMap::from([(key.to_owned(), text.to_owned())]));
        safetensors::serialize(tensors, metadata).unwrap()
    };
    let text = serde_json::to_string(&description()).unwrap();
    let ours = Some((METADATA_KEY, text.as_str()));
    let same = |_: &str, view| Some(view);
    assert_eq!(decode(&with(ours, &same)).unwrap(), model(vec![3]));
    assert!(refusal(&with(None, &same)).contains("no model or checkpoint of this program"));
    assert!(refusal(&with(Some((METADATA_KEY, "{}")), &same)).contains("metadata cannot be read: missing field"));
    let elsewhere = text.replace("cartpole-v1", "two words");
    assert!(refusal(&with(Some((METADATA_KEY, &elsewhere)), &same)).contains("`two words` is no name"));
    let without = |gone: &'static str| move |name: &str, view| (name != gone).then_some(view);
    assert!(refusal(&with(ours, &without("value.bias"))).contains("`value.bias` is missing, it should be F32 [1]"));
    assert!(refusal(&with(ours, &without("policy.weight"))).contains("`policy.weight` is missing"));
    // Without its first layer the rest is another network.
    assert!(refusal(&with(ours, &without("torso.0.weight"))).contains("`torso.0.bias` belongs to no network"));
    static ZEROS: [u8; 4 * 3 * 300] = [0; 3600];
    let reshaped = |which: &'static str, dtype, shape: &'static [usize], len: usize| {
        move |name: &str, view| match name == which {
            true => Some(TensorView::new(dtype, shape.to_vec(), &ZEROS[..len]).unwrap()),
            false => Some(view),
        }
    };
    let error = refusal(&with(ours, &reshaped("value.weight", Dtype::F32, &[1, 3], 12)));
    assert!(error.contains("`value.weight` is F32 [1, 3], it should be F32 [3, 1]"), "{error}");
    let error = refusal(&with(ours, &reshaped("value.weight", Dtype::U8, &[3, 1], 3)));
    assert!(error.contains("`value.weight` is U8 [3, 1], it should be F32 [3, 1]"), "{error}");
    let error = refusal(&with(ours, &reshaped("torso.0.weight", Dtype::F32, &[4, 0], 0)));
    assert!(error.contains("`torso.0.weight` is F32 [4, 0]") && error.contains("1 or more"), "{error}");
    let error = refusal(&with(ours, &reshaped("policy.weight", Dtype::F32, &[3, 300], 3600)));
    assert!(error.contains("at most 256 actions"), "{error}");
    let mut infinite = model(vec![3]);
    infinite.parameters[5] = f32::INFINITY;
    assert!(refusal(&bytes(&infinite)).contains("`torso.0.weight` holds numbers that are not finite"));
    drop(file);
    let error = load(Path::new("no/such.safetensors")).unwrap_err().to_string();
    assert!(error.starts_with("cannot read the model no/such.safetensors: "), "{error}");
}

#[test]
fn a_checkpoint_of_another_release_and_a_damaged_one_are_told_apart() {
    let (_, header) = SafeTensors::read_metadata(CHECKPOINT).unwrap();
    let envelope = &header.metadata().as_ref().unwrap()[checkpoint::METADATA_KEY];
    let tensors = || SafeTensors::deserialize(CHECKPOINT).unwrap().tensors();
    let with = |envelope: String| {
        let metadata = HashMap::from([(checkpoint::METADATA_KEY.to_owned(), envelope)]);
        decode(&safetensors::serialize(tensors(), Some(metadata)).unwrap()).unwrap_err().to_string()
    };
    let newer = with(envelope.replacen("\"format\":1", "\"format\":9", 1));
    assert_eq!(newer, "it is a checkpoint of format 9, this release reads formats up to 2");
    let damaged = with(envelope.replacen("cartpole-v1", "cartpole-v0", 1));
    assert!(damaged.starts_with("it is damaged: its checksum is "), "{damaged}");
}

#[test]
fn an_actor_has_one_tensor_whose_name_tells_its_index() {
    for index in [0, 11, u32::MAX] {
        assert_eq!(checkpoint::actor_index(&checkpoint::actor_tensor(index)), Some(index));
    }
    for name in ["actor.", "actor.01", "actor.+1", "actor.4294967296", "policy.weight"] {
        assert_eq!(checkpoint::actor_index(name), None, "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Damage is an error or, in a model file, another finite number; it is never a panic.
    #[test]
    fn flipped_bits_do_not_panic(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut damaged = bytes(&model(vec![3, 2]));
        let position = position.index(damaged.len());
        damaged[position] ^= 1 << bit;
        if let Ok(read) = decode(&damaged) {
            prop_assert_eq!(read.parameters.len(), read.network.parameter_count());
            prop_assert!(read.parameters.iter().all(|x| x.is_finite()));
            drop(read.policy());
        }
    }

    /// A checkpoint has a checksum: no bit of its weights changes unnoticed.
    #[test]
    fn flipped_bits_of_a_checkpoint_are_noticed(position in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let mut damaged = CHECKPOINT.to_vec();
        let position = position.index(damaged.len());
        damaged[position] ^= 1 << bit;
        // A changed bit in the header's white space or in the order of keys may still mean the same.
        if let Ok(read) = decode(&damaged) {
            prop_assert_eq!(read, decode(CHECKPOINT).unwrap());
        }
    }

    #[test]
    fn files_cut_short_are_refused(len in any::<prop::sample::Index>()) {
        let sound = bytes(&model(vec![3]));
        prop_assert!(decode(&sound[..len.index(sound.len())]).is_err());
        prop_assert!(decode(&CHECKPOINT[..len.index(CHECKPOINT.len())]).is_err());
    }

    #[test]
    fn any_bytes_do_not_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(decode(&bytes).is_err());
    }
}
