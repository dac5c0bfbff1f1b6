package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.grpc.Server;
import io.grpc.Status;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.stub.StreamObserver;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import mmesh.LoadModelRequest;
import mmesh.LoadModelResponse;
import mmesh.ModelRuntimeGrpc;
import mmesh.PredictModelSizeRequest;
import mmesh.PredictModelSizeResponse;
import mmesh.RuntimeStatusRequest;
import mmesh.RuntimeStatusResponse;
import mmesh.UnloadModelRequest;
import mmesh.UnloadModelResponse;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** A runtime beside the pod, as the pod asks it, over a real connection. */
class SidecarRuntimeTest {
  private final Beside beside = new Beside();
  private Server server;

  @BeforeEach
  void start() throws Exception {
    server =
        NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0))
            .executor(Executors.newVirtualThreadPerTaskExecutor())
            .addService(beside)
            .build()
            .start();
  }

  @AfterEach
  void stop() {
    beside.gate.countDown();
    server.shutdownNow();
  }

  private SidecarRuntime connect(long readyTimeoutMs) throws Exception {
    return SidecarRuntime.connect(
        new SidecarConfig(
            "127.0.0.1:" + server.getPort(), "", Set.of("keras"), false, readyTimeoutMs, 0));
  }

  @Test
  void isReadyWhenItSaysSoAndNotBefore() throws Exception {
    beside.startingFor.set(3);
    try (SidecarRuntime runtime = connect(60_000)) {
      assertEquals(4, beside.asked.get());
      assertEquals(12_345, runtime.capacityBytes());
      assertEquals(7, runtime.loadingConcurrency());
      assertTrue(runtime.supports("keras:2"));
      assertTrue(!runtime.supports("onnx"));
    }
  }

  @Test
  void whatItSaidLastIsSaidWhenItIsNotReadyInTime() {
    beside.startingFor.set(Integer.MAX_VALUE);
    String said =
        String.valueOf(assertThrows(IllegalStateException.class, () -> connect(300)).getMessage());
    assertTrue(said.contains("was not ready within 300 ms: it says STARTING"), said);
  }

  @Test
  void oneThatIsNotThereIsNamedByItsAddress() throws Exception {
    int nobody;
    try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
      nobody = socket.getLocalPort();
    }
    SidecarConfig config = new SidecarConfig("127.0.0.1:" + nobody, "", Set.of(), false, 100, 0);
    String said =
        String.valueOf(
            assertThrows(IllegalStateException.class, () -> SidecarRuntime.connect(config))
                .getMessage());
    assertTrue(said.contains("127.0.0.1:" + nobody) && said.contains("100 ms"), said);
  }

  @Test
  void aRuntimeThatDoesNotPredictIsAskedOnce() throws Exception {
    try (SidecarRuntime runtime = connect(60_000)) {
      for (int i = 0; i < 5; i++) {
        assertEquals(4_242, runtime.predictSizeBytes("m", "keras", "p", "k"));
      }
      assertEquals(1, beside.predictions.get());
    }
  }

  @Test
  void aPredictionThatTakesLongIsNotWaitedFor() throws Exception {
    beside.predictsSlowly = true;
    try (SidecarRuntime runtime = connect(60_000)) {
      long startNs = System.nanoTime();
      assertEquals(4_242, runtime.predictSizeBytes("m", "keras", "p", "k"));
      assertTrue(System.nanoTime() - startNs < TimeUnit.SECONDS.toNanos(10));
    }
  }

  @Test
  void anInterruptedLoadIsCalledOffAndUndone() throws Exception {
    try (SidecarRuntime runtime = connect(60_000)) {
      AtomicInteger failed = new AtomicInteger();
      Thread load =
          Thread.ofVirtual()
              .start(
                  () -> {
                    try {
                      runtime.load("m", "keras", "p", "k").close();
                    } catch (ModelLoadException e) {
                      failed.incrementAndGet();
                    }
                  });
      assertTrue(beside.loading.await(60, TimeUnit.SECONDS));
      load.interrupt();
      load.join();
      assertEquals(1, failed.get());
      assertEquals(1, beside.unloads.get());
    }
  }

  /** Loads for as long as it is let. */
  private static final class Beside extends ModelRuntimeGrpc.ModelRuntimeImplBase {
    final AtomicInteger startingFor = new AtomicInteger();
    final AtomicInteger asked = new AtomicInteger();
    final AtomicInteger predictions = new AtomicInteger();
    final AtomicInteger unloads = new AtomicInteger();
    final CountDownLatch gate = new CountDownLatch(1);
    final CountDownLatch loading = new CountDownLatch(1);
    volatile boolean predictsSlowly;

    @Override
    public void runtimeStatus(
        RuntimeStatusRequest request, StreamObserver<RuntimeStatusResponse> answer) {
      asked.incrementAndGet();
      answer.onNext(
          RuntimeStatusResponse.newBuilder()
              .setStatus(
                  startingFor.getAndDecrement() > 0
                      ? RuntimeStatusResponse.Status.STARTING
                      : RuntimeStatusResponse.Status.READY)
              .setCapacityInBytes(12_345)
              .setMaxLoadingConcurrency(7)
              .setDefaultModelSizeInBytes(4_242)
              .build());
      answer.onCompleted();
    }

    @Override
    public void predictModelSize(
        PredictModelSizeRequest request, StreamObserver<PredictModelSizeResponse> answer) {
      predictions.incrementAndGet();
      if (predictsSlowly) {
        await();
      }
      answer.onError(Status.UNIMPLEMENTED.asRuntimeException());
    }

    @Override
    public void loadModel(LoadModelRequest request, StreamObserver<LoadModelResponse> answer) {
      loading.countDown();
      await();
      answer.onNext(LoadModelResponse.newBuilder().setSizeInBytes(1).build());
      answer.onCompleted();
    }

    @Override
    public void unloadModel(
        UnloadModelRequest request, StreamObserver<UnloadModelResponse> answer) {
      unloads.incrementAndGet();
      answer.onNext(UnloadModelResponse.getDefaultInstance());
      answer.onCompleted();
    }

    private void await() {
      try {
        gate.await();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    }
  }
}
