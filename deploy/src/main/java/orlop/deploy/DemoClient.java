package orlop.deploy;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;

/**
 * A V2 gRPC client as a user of the mesh would write one: it spreads its calls over all pods and
 * tries the next pod when one is gone. Thread-safe.
 */
final class DemoClient implements AutoCloseable {
  private static final int DEADLINE_S = 30;

  private final List<String> addresses;
  private final Map<String, ManagedChannel> channels = new ConcurrentHashMap<>();
  private final AtomicLong next = new AtomicLong();
  private final AtomicLong retried = new AtomicLong();

  DemoClient(List<String> addresses) {
    this.addresses = new CopyOnWriteArrayList<>(addresses);
  }

  /** As a load balancer does once it has seen a pod go or come. */
  void replace(String gone, String come) {
    addresses.remove(gone);
    addresses.add(come);
    ManagedChannel channel = channels.remove(gone);
    if (channel != null) {
      channel.shutdownNow();
    }
  }

  /** Calls that were made again at another pod because the first was gone. */
  long retried() {
    return retried.get();
  }

  /** The label that the model gives each row, as an index into its classes. */
  int[] predict(DemoModel model, float[][] rows) {
    ModelInferResponse response = infer(request(model, rows));
    FloatBuffer scores =
        response
            .getRawOutputContents(0)
            .asReadOnlyByteBuffer()
            .order(ByteOrder.LITTLE_ENDIAN)
            .asFloatBuffer();
    int[] labels = new int[rows.length];
    float[] row = new float[scores.remaining() / rows.length];
    for (int i = 0; i < labels.length; i++) {
      scores.get(row);
      labels[i] = DemoModel.best(row);
    }
    return labels;
  }

  /**
   * @throws StatusRuntimeException of the last pod tried
   */
  ModelInferResponse infer(ModelInferRequest request) {
    StatusRuntimeException last = null;
    long first = next.getAndIncrement();
    List<String> pods = List.copyOf(addresses);
    for (int i = 0; i < pods.size(); i++) {
      String address = pods.get((int) Math.floorMod(first + i, pods.size()));
      try {
        return GRPCInferenceServiceGrpc.newBlockingStub(channel(address))
            .withDeadlineAfter(DEADLINE_S, TimeUnit.SECONDS)
            .modelInfer(request);
      } catch (StatusRuntimeException e) {
        if (e.getStatus().getCode() != Status.Code.UNAVAILABLE) {
          throw e;
        }
        last = e;
        retried.incrementAndGet();
      }
    }
    throw last == null ? Status.UNAVAILABLE.asRuntimeException() : last;
  }

  /** A request with raw contents, as client libraries send it. */
  static ModelInferRequest request(DemoModel model, float[][] rows) {
    ByteBuffer raw =
        ByteBuffer.allocate(rows.length * model.features() * Float.BYTES)
            .order(ByteOrder.LITTLE_ENDIAN);
    for (float[] row : rows) {
      raw.asFloatBuffer().put(row);
      raw.position(raw.position() + row.length * Float.BYTES);
    }
    return ModelInferRequest.newBuilder()
        .setModelName(model.id())
        .addInputs(
            ModelInferRequest.InferInputTensor.newBuilder()
                .setName(DemoModel.INPUT)
                .setDatatype("FP32")
                .addShape(rows.length)
                .addShape(model.features()))
        .addRawInputContents(ByteString.copyFrom(raw.flip()))
        .build();
  }

  private ManagedChannel channel(String address) {
    return channels.computeIfAbsent(
        address, a -> NettyChannelBuilder.forTarget(a).usePlaintext().build());
  }

  @Override
  public void close() {
    channels.values().forEach(ManagedChannel::shutdownNow);
  }
}
