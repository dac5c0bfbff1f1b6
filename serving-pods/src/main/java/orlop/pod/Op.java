package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import io.netty.util.AsciiString;

/** A kind of call that needs a model in memory and therefore travels to the pod that holds one. */
enum Op {
  INFER("ModelInfer", true, true),
  METADATA("ModelMetadata", true, true),
  STREAM("ModelStreamInfer", false, false),

  /** A method that only the model's own runtime knows; headers name the model. */
  OTHER("*", false, false);

  /** As metrics and logs name it. */
  final String label;

  /** What {@code :path} says. */
  @SuppressWarnings("ImmutableEnumChecker") // Nobody changes it.
  final AsciiString path;

  /** Whether there is one message in each direction. */
  final boolean unary;

  /** Whether it may be run twice without harm. */
  final boolean pure;

  Op(String name, boolean unary, boolean pure) {
    this.label = name.equals("*") ? "other" : GRPCInferenceServiceGrpc.SERVICE_NAME + "/" + name;
    this.path = AsciiString.cached("/" + GRPCInferenceServiceGrpc.SERVICE_NAME + "/" + name);
    this.unary = unary;
    this.pure = pure;
  }
}
