package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.PutOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.placement.MeshView;
import orlop.placement.Model;

/** 100,000 registered models start in seconds and cost under 1 KB of heap each. */
@Tag("slow")
class RegistryScaleTest {
  private static final int MODELS = 100_000;
  private static final int PER_WRITE = 100;

  @TempDir Path dir;

  @Test
  void readsAHundredThousandModelsInSecondsAndKeepsThemSmall() throws Exception {
    try (EtcdProcess etcd = EtcdProcess.start(dir)) {
      RegistryConfig config = RegistryConfig.of(etcd.endpoint(), "big").withTimes(10_000, 60_000);
      try (EtcdRegistry writer = EtcdRegistry.connect(config)) {
        fill(writer);
        Await.until("the watch brings all", 120, () -> writer.view().modelCount() == MODELS);
        long before = usedBytes();
        long begun = System.nanoTime();
        EtcdRegistry reader = EtcdRegistry.connect(config);
        long tookMs = TimeUnit.NANOSECONDS.toMillis(System.nanoTime() - begun);
        assertEquals(MODELS, reader.view().modelCount());
        long bytesEach = (usedBytes() - before) / MODELS;
        System.err.println(
            "read " + MODELS + " models in " + tookMs + " ms, " + bytesEach + " B of heap each");
        assertTrue(tookMs < 30_000, tookMs + " ms");
        assertTrue(bytesEach < 1_024, bytesEach + " B per model");

        // The view goes on from the last page's revision.
        writer.createModel(Samples.model("one more"));
        Await.until("one more", () -> reader.view().modelCount() == MODELS + 1);
        assertEquals(first(writer.view()), first(reader.view()));
        reader.close();

        // Pages of another size, which is no divisor, bring the same.
        try (EtcdRegistry other =
            EtcdRegistry.connect(
                new RegistryConfig(
                    config.endpoints(),
                    "orlop",
                    "big",
                    10_000,
                    60_000,
                    512,
                    777,
                    null,
                    null,
                    config.tls()))) {
          assertEquals(MODELS + 1, other.view().modelCount());
        }
      }
    }
  }

  private static Model first(MeshView view) {
    return java.util.Objects.requireNonNull(view.model(id(0)));
  }

  private static String id(int i) {
    return "tenant-%03d/model-%06d".formatted(i % 500, i);
  }

  private static void fill(EtcdRegistry writer) throws Exception {
    Keyspace keys = new Keyspace("orlop", "big");
    Values values = new Values();
    for (int i = 0; i < MODELS; i += PER_WRITE) {
      List<Op> puts = new ArrayList<>();
      for (int j = i; j < i + PER_WRITE; j++) {
        Model model =
            Model.of(
                id(j),
                j % 2 == 0 ? "onnx" : "xgboost",
                "models/tenant-%03d/v%d/model-%06d".formatted(j % 500, j % 7, j),
                "{\"storage_key\":\"store-" + j % 500 + "\",\"bucket\":\"models\"}",
                1_700_000_000_000L + j);
        puts.add(
            Op.put(
                EtcdStore.bytes(keys.model(model.id())),
                ByteSequence.from(values.encode(model)),
                PutOption.DEFAULT));
      }
      writer
          .store()
          .client()
          .getKVClient()
          .txn()
          .Then(puts.toArray(Op[]::new))
          .commit()
          .get(60, TimeUnit.SECONDS);
    }
  }

  private static long usedBytes() {
    Runtime runtime = Runtime.getRuntime();
    for (int i = 0; i < 3; i++) {
      System.gc();
    }
    return runtime.totalMemory() - runtime.freeMemory();
  }
}
