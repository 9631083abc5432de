//! What designer, master and worker say to each other: operators, topologies, intents, tasks, worker profiles and the
//! messages on the bus. No I/O.
//!
//! The JSON spelling of every field is upstream's (release 3.2.8), so that an upstream worker, master or client can
//! take part; fields that upstream does not know are optional and left out when empty.

pub mod go_json;
pub mod ids;
pub mod message;
pub mod operator;
pub mod pod;
pub mod profile;
pub mod report;
pub mod routing;
pub mod task;
pub mod topology;

pub use message::{Envelope, MessageType, full_report};
pub use operator::{Code, DockerImage, Executable, Operator, Parameter};
pub use pod::{PodSettings, Resources};
pub use profile::{Location, MasterProfile, WorkerProfile};
pub use report::{LeaseReply, LeaseRequest, MasterReport, RegistrySnapshot, TaskInput, TaskOutput, TaskRow};
pub use task::{
    DesiredTasks, EntityDetail, FlowInfo, InputStream, OutputStream, ScheduledTaskInstance, TaskInfo, TaskState, TaskUpdate, WorkerTasks,
};
pub use topology::{FogFunction, GeoScope, InputSelector, IntentState, OutputSelector, Priority, ServiceIntent, Task, Topology};
