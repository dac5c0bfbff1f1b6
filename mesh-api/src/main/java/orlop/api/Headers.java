package orlop.api;

/** Names of the gRPC metadata, HTTP and Kafka headers that the mesh reads and writes. */
public final class Headers {
  /** Names the model of a call or of a record; wins over a name inside the message. */
  public static final String MODEL_ID = "mm-model-id";

  /** What {@link #MODEL_ID} was called before ModelMesh. */
  public static final String MODEL_ID_OLD = "tas-model-id";

  /**
   * On a call that names several models: {@code all}, the default, when one that fails makes the
   * call fail, {@code any} when it is left out of the answer.
   */
  public static final String REQUIRED = "mm-required";

  /** Names the alias of a call or of a record; wins over a name inside the message. */
  public static final String VMODEL_ID = "mm-vmodel-id";

  /**
   * {@code batch} on a call of work that can wait: a model that only such calls use displaces
   * nothing that other calls used lately, and such models hold a bounded share of the memory.
   */
  public static final String PURPOSE = "orlop-purpose";

  /** {@code true} where the caller spreads its calls over all pods by itself. */
  public static final String BALANCED = "mm-balanced";

  /**
   * On a call from pod to pod, the id of the pod that forwards it. Such a call is served, loaded or
   * refused where it arrives; it never travels on.
   */
  public static final String FORWARDED_BY = "orlop-forwarded-by";

  /**
   * In the trailers of a refused forwarded call: {@code not-here} when the target neither holds the
   * model nor may load it, so that the sender may try another pod without risk of a second
   * execution.
   */
  public static final String REFUSED = "orlop-refused";

  /**
   * On a forwarded call that its target shall load a model for: the wait for loads before it that
   * the sender expects there, milliseconds. A target that is far busier refuses.
   */
  public static final String PROMISED = "orlop-promised-ms";

  /**
   * In the trailers of a forwarded call that waited or was refused: what the pod has queued, as
   * {@code nowMs;loads;queuedMs;ramBytes;vramBytes;draining}.
   */
  public static final String LOAD = "orlop-load";

  private Headers() {}
}
