package orlop.pod;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import orlop.payload.PayloadLog;
import orlop.placement.Memory;
import orlop.registry.LocalRegistry;
import orlop.runtime.LoadedModel;
import orlop.runtime.ModelLoadException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.OnnxRuntime;
import orlop.runtime.RuntimeConfig;
import orlop.runtime.Sample;
import orlop.runtime.TreeRuntime;

/** Goal: a rehearsal calls real models in real pods, and leaves no trace. */
class RehearsalTest {
  /** Counts what another runtime does for a rehearsal, and fails where it is told to. */
  private record Watched(ModelRuntime runtime, AtomicInteger loads, boolean broken)
      implements ModelRuntime {
    @Override
    public String name() {
      return runtime.name();
    }

    @Override
    public boolean supports(String modelType) {
      return runtime.supports(modelType);
    }

    @Override
    public long predictSizeBytes(Path modelPath) throws java.io.IOException {
      return runtime.predictSizeBytes(modelPath);
    }

    @Override
    public LoadedModel load(String modelId, String modelType, Path modelPath)
        throws ModelLoadException {
      loads.incrementAndGet();
      if (broken) {
        throw new ModelLoadException(ModelLoadException.Reason.INTERNAL, "broken", null);
      }
      return runtime.load(modelId, modelType, modelPath);
    }

    @Override
    public Optional<Sample> sample() {
      return runtime.sample();
    }

    @Override
    public void close() {}
  }

  private static PodConfig config(int warmUpMs) {
    return PodConfig.builder("real", Memory.ram(64 << 20))
        .host("127.0.0.1")
        .ports(0, 0, 0, 0)
        .drainTimeoutMs(1_000)
        .warmUpMs(warmUpMs)
        .build();
  }

  @Test
  void everySampleIsLoadedAndAnswers() throws Exception {
    AtomicInteger loads = new AtomicInteger();
    try (OnnxRuntime onnx = new OnnxRuntime(RuntimeConfig.defaults())) {
      Rehearsal.perform(
          config(30_000),
          List.of(new Watched(onnx, loads, false), new Watched(new TreeRuntime(), loads, false)),
          3);
    }
    // Here, there, and those that calls waited for.
    assertEquals(2 * (2 + Rehearsal.COLD_CALLS), loads.get());
  }

  @Test
  void aBrokenRuntimeIsToldAndDoesNotStopTheStart() throws Exception {
    AtomicInteger loads = new AtomicInteger();
    List<ModelRuntime> runtimes = List.of(new Watched(new TreeRuntime(), loads, true));
    var refused =
        assertThrows(
            ExecutionException.class, () -> Rehearsal.perform(config(20_000), runtimes, 3));
    assertTrue(String.valueOf(refused.getCause()).contains("broken"), refused.toString());
    Rehearsal.before(config(20_000), runtimes);
  }

  @Test
  void thePodAfterItIsAsNew() throws Exception {
    ModelRuntime noFormat = new Watched(new TreeRuntime(), new AtomicInteger(), false);
    Rehearsal.perform(config(30_000), List.of(noFormat), 3);
    try (LocalRegistry registry = new LocalRegistry();
        ServingPod pod =
            ServingPod.start(
                config(1),
                registry,
                new FakeStore(),
                List.of(noFormat),
                PayloadLog.disabled(),
                List.of());
        HttpClient http = HttpClient.newHttpClient()) {
      assertEquals(new PodStats(0, 0, 0, 0, 0, 0, 0, 0), pod.stats());
      assertEquals(0, pod.loadedModels());
      assertEquals(1, registry.view().pods().size());
      assertNull(registry.view().model("trees-local"));
      String metrics =
          http.send(
                  HttpRequest.newBuilder(
                          URI.create("http://127.0.0.1:" + pod.metricsPort() + "/metrics"))
                      .build(),
                  HttpResponse.BodyHandlers.ofString())
              .body();
      assertFalse(metrics.contains("method="), metrics);
      assertFalse(metrics.contains("rehearsal"), metrics);
    }
  }
}
