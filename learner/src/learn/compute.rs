//! Where the learner computes: the CPU, or a GPU through wgpu where the binary has that backend and the machine an adapter.

use burn::tensor::Device;
use impala_policy::network::PolicyHead;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
#[cfg(feature = "wgpu")]
use std::sync::Mutex;

/// What `--device` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The faster of the CPU and a GPU, if there is one; `device_choice` measures.
    Auto,
    /// burn's CPU backend.
    Cpu,
    /// A GPU; the number picks one of several discrete ones.
    Wgpu(Option<usize>),
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Wgpu(None) => f.write_str("wgpu"),
            Self::Wgpu(Some(index)) => write!(f, "wgpu:{index}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "wgpu" => Ok(Self::Wgpu(None)),
            other => {
                let index = other.strip_prefix("wgpu:").and_then(|n| n.parse().ok());
                let index =
                    index.ok_or_else(|| format!("unknown device `{other}`: use auto, cpu, wgpu or wgpu:<n>"))?;
                Ok(Self::Wgpu(Some(index)))
            }
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// Why the wanted device is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The binary was built without the GPU backend.
    #[error("--device {0}: this binary has no GPU backend; build it with `--features wgpu`, or use --device cpu")]
    NotBuilt(DeviceChoice),
    /// The GPU's passes are of policies that are one choice.
    #[error("--device {choice}: a GPU does not train a policy of {head} yet; use --device cpu")]
    Head {
        /// What was asked for.
        choice: DeviceChoice,
        /// What the policy's head gives.
        head: PolicyHead,
    },
    /// No adapter, or not as many.
    #[error("--device {choice}: {reason}; use --device cpu, or install a Vulkan driver for the GPU")]
    NoAdapter {
        /// What was asked for.
        choice: DeviceChoice,
        /// What was found.
        reason: String,
    },
}

/// An opened device.
#[derive(Clone, Debug)]
pub struct ComputeDevice {
    tensors: Device,
    plain: Device,
    name: String,
    note: String,
    is_cpu: bool,
}

impl ComputeDevice {
    /// The CPU; always there.
    pub fn cpu() -> Self {
        Self::cpu_because("device: cpu".into())
    }

    fn cpu_because(note: String) -> Self {
        Self { tensors: Device::flex().autodiff(), plain: Device::flex(), name: "cpu".into(), note, is_cpu: true }
    }

    /// Opens the wanted device; for `auto` a GPU that is no software renderer, else the CPU.
    ///
    /// # Errors
    /// A GPU was asked for by name and is not to be had.
    pub fn open(choice: DeviceChoice) -> Result<Self, DeviceError> {
        match choice {
            DeviceChoice::Cpu => Ok(Self::cpu()),
            DeviceChoice::Wgpu(_) => open_gpu(choice),
            DeviceChoice::Auto => Ok(open_gpu(choice).unwrap_or_else(|reason| {
                Self::cpu_because(match reason {
                    DeviceError::NotBuilt(_) => "device: cpu (this binary has no GPU backend)".into(),
                    reason @ DeviceError::Head { .. } => format!("device: cpu ({reason})"),
                    DeviceError::NoAdapter { reason, .. } => format!("device: cpu ({reason})"),
                })
            })),
        }
    }

    /// The device for new tensors, with differentiation on.
    pub fn tensors(&self) -> &Device {
        &self.tensors
    }

    /// The same without differentiation.
    pub fn plain(&self) -> &Device {
        &self.plain
    }

    /// Whether tensors lie in host memory.
    pub fn is_cpu(&self) -> bool {
        self.is_cpu
    }

    /// The same device with another line for people.
    #[must_use]
    pub fn noted(self, note: String) -> Self {
        Self { note, ..self }
    }

    /// One line for people: the device, and for `auto` why it was taken.
    pub fn note(&self) -> &str {
        &self.note
    }

    /// Whether it is a renderer that runs on the CPU: slower there than burn's CPU backend.
    pub fn is_software(&self) -> bool {
        !self.is_cpu && is_software(&self.name)
    }

    /// Every adapter that the GPU backend knows, software ones too; none where the binary has no such backend.
    pub fn gpus() -> Vec<Self> {
        let open = |choice| Self::open(DeviceChoice::Wgpu(choice)).ok();
        let discrete: Vec<Self> = (0..).map_while(|index| open(Some(index))).collect();
        // An integrated or software adapter has no number.
        if discrete.is_empty() { open(None).into_iter().collect() } else { discrete }
    }

    /// For people: `cpu`, or the adapter's name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(not(feature = "wgpu"))]
fn open_gpu(choice: DeviceChoice) -> Result<ComputeDevice, DeviceError> {
    Err(DeviceError::NotBuilt(choice))
}

/// Opens a GPU, once in a process: the backend refuses to open the same one again.
#[cfg(feature = "wgpu")]
fn open_gpu(choice: DeviceChoice) -> Result<ComputeDevice, DeviceError> {
    static OPENED: Mutex<Vec<(Option<usize>, ComputeDevice)>> = Mutex::new(Vec::new());
    let index = if let DeviceChoice::Wgpu(index) = choice { index } else { None };
    let mut opened = OPENED.lock().expect("opening a device does not panic");
    let known = opened.iter().find(|(known, _)| *known == index).map(|(_, device)| device.clone());
    let device = match known {
        Some(device) => device,
        None => {
            let device = open_anew(choice)?;
            opened.push((index, device.clone()));
            device
        }
    };
    if choice == DeviceChoice::Auto && device.is_software() {
        let reason = format!("the only adapter, {}, is a software renderer", device.name);
        return Err(DeviceError::NoAdapter { choice, reason });
    }
    Ok(device)
}

#[cfg(feature = "wgpu")]
fn open_anew(choice: DeviceChoice) -> Result<ComputeDevice, DeviceError> {
    use burn::tensor::DeviceKind;
    use burn::tensor::wgpu::WgpuBackend;
    let no_adapter = |reason: String| DeviceError::NoAdapter { choice, reason };
    let kind = match choice {
        DeviceChoice::Wgpu(Some(index)) => DeviceKind::DiscreteGpu(index),
        _ => DeviceKind::DefaultDevice,
    };
    // On Linux wgpu knows Vulkan and OpenGL, and only the first is fit for compute.
    let api = if cfg!(target_os = "linux") { WgpuBackend::Vulkan } else { WgpuBackend::Auto };
    // Opened here and now: a lazily opened device panics at the first tensor where there is no adapter.
    let opened = Device::wgpu_options().device_kind(kind).graphics_api(api).init();
    let device = opened.map_err(|error| {
        // The runtime appends the whole description of every adapter.
        let text = error.to_string();
        no_adapter(text.split(", adapters [").next().unwrap_or(&text).to_owned())
    })?;
    let name = device.identity().map_or_else(|| "wgpu".into(), |identity| identity.name);
    let note = format!("device: {name} (wgpu)");
    Ok(ComputeDevice { plain: device.clone(), tensors: device.autodiff(), name, note, is_cpu: false })
}

/// Whether an adapter is a software renderer, which only its name tells.
fn is_software(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["llvmpipe", "lavapipe", "swiftshader", "software", "basic render"].iter().any(|known| name.contains(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_round_trip_and_others_are_refused() {
        for text in ["auto", "cpu", "wgpu", "wgpu:3"] {
            assert_eq!(text.parse::<DeviceChoice>().unwrap().to_string(), text);
        }
        for text in ["gpu", "wgpu:", "wgpu:-1", "cuda"] {
            assert!(text.parse::<DeviceChoice>().unwrap_err().contains(text));
        }
    }

    #[test]
    #[cfg(not(feature = "wgpu"))]
    fn a_binary_without_the_gpu_backend_says_so() {
        let error = ComputeDevice::open(DeviceChoice::Wgpu(None)).unwrap_err().to_string();
        assert!(error.contains("--features wgpu"), "{error}");
        assert!(ComputeDevice::open(DeviceChoice::Auto).unwrap().is_cpu());
    }
}
