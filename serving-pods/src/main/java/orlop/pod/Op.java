package orlop.pod;

import inference.GRPCInferenceServiceGrpc;
import io.netty.util.AsciiString;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * A kind of call that needs a model in memory and therefore travels to the pod that holds one.
 * Immutable.
 */
final class Op {
  private static final int[] NOWHERE = {};

  static final Op INFER = v2(0, "ModelInfer", true, NamePeek.FIRST);
  static final Op METADATA = v2(1, "ModelMetadata", true, NamePeek.FIRST);
  static final Op STREAM = v2(2, "ModelStreamInfer", false, new int[] {2, 1});

  private static final Op[] V2 = {INFER, METADATA, STREAM};

  /** What metrics tell apart, at the place of {@link #kind}: the last stands for all others. */
  static final List<Op> KINDS = List.of(INFER, METADATA, STREAM, other("", null));

  /** As logs name it. */
  final String label;

  /** The place of its like in {@link #KINDS}. */
  final int kind;

  /** Full name, such as {@code package.Service/Method}. */
  final String method;

  /** What {@code :path} says. */
  final AsciiString path;

  /** Whether there is one message in each direction. */
  final boolean unary;

  /** Whether it may be run twice without harm. */
  final boolean pure;

  /** Where requests name the model when headers do not, and answers repeat it; empty: nowhere. */
  final int[] namePath;

  final int[] answerPath;

  /** Whether the name in a message is a model's id, even if an alias is called so too. */
  final boolean namesModel;

  private Op(
      int kind,
      String label,
      String method,
      boolean unary,
      boolean pure,
      int[] namePath,
      int[] answerPath,
      boolean namesModel) {
    this.kind = kind;
    this.label = label;
    this.method = method;
    this.path = AsciiString.cached("/" + method);
    this.unary = unary;
    this.pure = pure;
    this.namePath = namePath;
    this.answerPath = answerPath;
    this.namesModel = namesModel;
  }

  private static Op v2(int kind, String name, boolean unary, int[] answerPath) {
    String method = GRPCInferenceServiceGrpc.SERVICE_NAME + "/" + name;
    return new Op(kind, method, method, unary, unary, NamePeek.FIRST, answerPath, false);
  }

  /** The V2 method of that path; null when it is none of those that need a model. */
  static @Nullable Op v2(CharSequence path) {
    for (Op op : V2) {
      if (AsciiString.contentEquals(op.path, path)) {
        return op;
      }
    }
    return null;
  }

  /** A method that only the model's own runtime knows. */
  static Op other(String method, Dataplane.@Nullable Rpc rpc) {
    return new Op(
        3,
        rpc == null ? "other" : method,
        method,
        false,
        false,
        rpc == null ? NOWHERE : rpc.path(),
        NOWHERE,
        rpc != null && !rpc.vModelId());
  }
}
