package orlop.pod;

import com.google.protobuf.ByteString;
import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferRequest;
import io.netty.buffer.ByteBuf;
import io.netty.buffer.Unpooled;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Threads;
import org.openjdk.jmh.annotations.Warmup;
import orlop.placement.Attempt;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Delta;
import orlop.placement.Hints;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Placer;
import orlop.placement.Pod;
import orlop.placement.Route;
import orlop.placement.Router;

/** What a passing call costs, step by step: the name read and changed, the way chosen, the pin. */
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Fork(1)
@Warmup(iterations = 3, time = 1)
@Measurement(iterations = 5, time = 1)
public class PathJmh {

  /** A message of 128 bytes or 64 KB of tensor, with its gRPC prefix. */
  @State(Scope.Thread)
  public static class Message {
    @Param({"128", "65536"})
    int tensorBytes;

    ByteBuf frame = Unpooled.EMPTY_BUFFER;
    ByteBuf message = Unpooled.EMPTY_BUFFER;

    @Setup
    public void fill() {
      byte[] bytes =
          ModelInferRequest.newBuilder()
              .setModelName("tenant-017/fraud-model-0042")
              .setId("1")
              .addInputs(
                  ModelInferRequest.InferInputTensor.newBuilder()
                      .setName("x")
                      .setDatatype("FP32")
                      .addShape(tensorBytes / 4))
              .addRawInputContents(ByteString.copyFrom(new byte[tensorBytes]))
              .build()
              .toByteArray();
      frame = Unpooled.directBuffer().writeByte(0).writeInt(bytes.length).writeBytes(bytes);
      message = frame.slice(Wire.PREFIX_BYTES, bytes.length);
    }
  }

  @Benchmark
  public String peek(Message message) throws InvalidProtocolBufferException {
    NamePeek peek = new NamePeek();
    peek.look(message.message, message.message.readableBytes());
    return peek.name();
  }

  @Benchmark
  public boolean rename(Message message) throws InvalidProtocolBufferException {
    NamePeek peek = new NamePeek();
    peek.look(message.message, message.message.readableBytes());
    return Rename.renamed(message.frame.retain(), peek, "fraud").release();
  }

  /** A hundred thousand models; every second one has a copy in one of thirty pods. */
  @State(Scope.Benchmark)
  public static class Mesh {
    private static final int MODELS = 100_000;
    private static final int PODS = 30;

    final Router router = new Router(new Placer());
    MeshView view = MeshView.empty();

    @Setup
    public void fill() {
      List<Delta> deltas = new ArrayList<>();
      for (int i = 0; i < PODS; i++) {
        Memory capacity = Memory.ram(1L << 34);
        deltas.add(
            new Delta.PodPut(
                new Pod(
                    "pod-" + i,
                    "10.0.0." + i + ":8033",
                    "zone-" + i % 3,
                    Set.of(),
                    capacity,
                    Memory.NONE,
                    0,
                    0,
                    false,
                    1,
                    "1")));
      }
      for (int i = 0; i < MODELS; i++) {
        deltas.add(new Delta.ModelPut(Model.of("model-" + i, "onnx", "m/" + i, "", 1)));
        if (i % 2 == 0) {
          CopyState loaded = new CopyState.Loaded(Memory.ram(60_000), 1);
          deltas.add(new Delta.CopyPut(new Copy("model-" + i, "pod-" + i / 2 % PODS, loaded, 1)));
        }
      }
      view = view.with(deltas, 1);
    }

    private Route route(int number) {
      return router.route(
          view,
          new Attempt(
              "model-" + number, "pod-0", false, Set.of(), false, 0, 1_000, Hints.NONE, -1));
    }
  }

  /** Counts through the models, so that no two calls in a row ask for the same one. */
  @State(Scope.Thread)
  public static class Next {
    private int number;

    int model() {
      number = (number + 7_919) % Mesh.MODELS;
      return number;
    }
  }

  @Benchmark
  public Route routeToACopy(Mesh mesh, Next next) {
    return mesh.route(next.model() & ~1);
  }

  @Benchmark
  public Route routeAMiss(Mesh mesh, Next next) {
    return mesh.route(next.model() | 1);
  }

  /** One slot that all threads pin. */
  @State(Scope.Benchmark)
  public static class Pinned {
    final Slot<String> slot = new Slot<>("model");
  }

  @Benchmark
  public boolean pin(Pinned pinned) {
    boolean in = pinned.slot.pin(1);
    pinned.slot.unpin();
    return in;
  }

  @Benchmark
  @Threads(2)
  public boolean pinByTwo(Pinned pinned) {
    return pin(pinned);
  }
}
