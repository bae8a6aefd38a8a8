//! Models on `rten`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rten::{ModelOptions, NodeId, RunOptions, ThreadPool, Value, ValueOrView};
use rten_tensor::{Layout as _, Tensor};

use super::{Input, LoadError, Model, Numbers, Output, Session};

struct RtenSession {
    model: rten::Model,
    threads: Arc<ThreadPool>,
    output: NodeId,
    name: String,
}

pub(super) fn load(
    model: Model<'_>,
    threads: Arc<ThreadPool>,
) -> Result<Box<dyn Session>, LoadError> {
    let Model {
        bytes,
        external,
        output,
    } = model;
    let load = || {
        let mut options = ModelOptions::with_all_ops();
        for (location, bytes) in external {
            options.external_data(&location, bytes);
        }
        options.load(Vec::from(bytes))
    };
    // What the runtime does with damaged files is not ours to know: none of it may end the program.
    let model = match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(model)) => model,
        Ok(Err(error)) => {
            return Err(LoadError::Unsupported(format!(
                "{error}; export it again with plain ONNX operators, for instance without quantisation"
            )));
        }
        Err(_) => {
            return Err(LoadError::Damaged(
                "the runtime failed while loading it".to_owned(),
            ));
        }
    };
    let node = model.find_node(output);
    let Some(id) = node.filter(|id| model.output_ids().contains(id)) else {
        return Err(LoadError::Damaged(format!(
            "its output {output:?} is not computed"
        )));
    };
    Ok(Box::new(RtenSession {
        model,
        threads,
        output: id,
        name: output.to_owned(),
    }))
}

impl Session for RtenSession {
    fn run(&self, inputs: Vec<Input<'_>>) -> Result<Output, String> {
        let mut values: Vec<(NodeId, ValueOrView<'_>)> = Vec::with_capacity(inputs.len());
        for Input {
            port,
            shape,
            numbers,
        } in inputs
        {
            let id = self.model.find_node(&port.name);
            let id = id.ok_or_else(|| format!("it has lost its input {:?}", port.name))?;
            let value = match numbers {
                Numbers::Bytes(bytes) => value(&shape, bytes),
                Numbers::Floats(floats) => value(&shape, floats),
                #[cfg(feature = "text")]
                Numbers::Integers(integers) => value(&shape, integers),
            };
            values.push((id, value?.into()));
        }
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(&self.threads)));
        let run = || self.model.run(values, &[self.output], Some(options));
        let output = match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Ok(mut outputs)) => outputs.pop(),
            Ok(Err(error)) => return Err(error.to_string()),
            Err(_) => return Err("the runtime failed; the file may be damaged".to_owned()),
        };
        let output = output.and_then(|value| value.into_tensor::<f32>());
        let output = output.ok_or_else(|| format!("its output {:?} has no floats", self.name))?;
        Ok(Output {
            shape: output.shape().to_vec(),
            numbers: output.into_data(),
        })
    }
}

fn value<T>(shape: &[usize], numbers: Vec<T>) -> Result<Value, String>
where
    Value: From<Tensor<T>>,
{
    let tensor = Tensor::try_from_data(shape, numbers);
    tensor.map(Value::from).map_err(|error| error.to_string())
}
