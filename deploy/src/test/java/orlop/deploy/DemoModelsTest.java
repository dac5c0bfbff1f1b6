package orlop.deploy;

import static java.util.Objects.requireNonNull;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.api.io.TempDir;

/**
 * Goal: the demo may demand accuracyDelta = 0. Method: train every model, run every held-out row
 * through ONNX Runtime and compare each label with the trainer's.
 */
@Tag("slow")
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class DemoModelsTest {
  private final List<String> lines = new ArrayList<>();
  private Path cache;
  private List<DemoModel> models;

  @BeforeAll
  void train(@TempDir Path dir) throws Exception {
    Logging.start(false);
    cache = dir.resolve("models-v1");
    long beganNs = System.nanoTime();
    models = DemoModels.prepare(cache, lines::add);
    System.out.println(
        models.size()
            + " models in "
            + (System.nanoTime() - beganNs) / 1_000_000
            + " ms, "
            + lines);
  }

  @Test
  void trainsAtLeastTwoHundredModelsOfWhichNoTwoAreEqual() throws Exception {
    var contents = new HashSet<String>();
    var ids = new HashSet<String>();
    for (DemoModel model : models) {
      var sha = MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(model.file()));
      contents.add(HexFormat.of().formatHex(sha));
      ids.add(model.id());
    }
    assertTrue(models.size() >= 200, "only " + models.size() + " models");
    assertEquals(models.size(), contents.size());
    assertEquals(models.size(), ids.size());
  }

  @Test
  void everyExportedModelGivesTheTrainersLabelOnEveryHeldOutRow() throws Exception {
    Map<String, DemoData.Dataset> data = new HashMap<>();
    DemoData.load().forEach(dataset -> data.put(dataset.name(), dataset));
    var env = OrtEnvironment.getEnvironment();
    for (DemoModel model : models) {
      try (var options = new OrtSession.SessionOptions()) {
        options.setIntraOpNumThreads(1);
        options.setInterOpNumThreads(1);
        try (var session = env.createSession(Files.readAllBytes(model.file()), options)) {
          float[][] rows = requireNonNull(data.get(model.dataset())).heldOut().rows();
          assertArrayEquals(
              model.heldOutPredicted(), labels(env, session, model, rows), model.id());
        }
      }
    }
  }

  private static int[] labels(
      OrtEnvironment env, OrtSession session, DemoModel model, float[][] rows) throws Exception {
    var batch = new float[rows.length][];
    for (int i = 0; i < rows.length; i++) {
      batch[i] = model.inputOf(rows[i]);
    }
    var labels = new int[rows.length];
    try (var input = OnnxTensor.createTensor(env, batch);
        var result = session.run(Map.of(DemoModel.INPUT, input))) {
      var scores = (float[][]) result.get(DemoModel.OUTPUT).orElseThrow().getValue();
      for (int i = 0; i < rows.length; i++) {
        assertEquals(model.classes().size(), scores[i].length);
        labels[i] = DemoModel.best(scores[i]);
      }
    }
    return labels;
  }

  @Test
  void everyModelHasLearnedItsTask() {
    for (DemoModel model : models) {
      int right = 0;
      var counts = new int[model.classes().size()];
      for (int i = 0; i < model.heldOutTruth().length; i++) {
        right += model.heldOutTruth()[i] == model.heldOutPredicted()[i] ? 1 : 0;
        counts[model.heldOutTruth()[i]]++;
      }
      assertEquals((double) right / model.heldOutTruth().length, model.accuracy());
      int mostFrequent = 0;
      for (int count : counts) {
        mostFrequent = Math.max(mostFrequent, count);
      }
      assertTrue(right > mostFrequent, model + " is no better than the most frequent label");
    }
  }

  @Test
  void aSecondStartTakesTheCacheAndFindsTheSame() throws Exception {
    var said = new ArrayList<String>();
    assertEquals(models, DemoModels.prepare(cache, said::add));
    assertEquals(List.of(), said);
  }

  @Test
  void trainingAnewGivesTheSameBytes(@TempDir Path other) throws Exception {
    DemoData.Dataset iris = DemoData.load("iris");
    for (DemoRecipe recipe : DemoRecipe.all(List.of(iris))) {
      DemoModel model =
          models.stream().filter(m -> m.id().equals(recipe.id())).findFirst().orElseThrow();
      assertArrayEquals(
          Files.readAllBytes(model.file()), DemoTrainer.train(recipe, iris).onnx(), recipe.id());
    }
  }
}
