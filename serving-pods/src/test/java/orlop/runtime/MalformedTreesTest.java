package orlop.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import inference.ModelInferRequest;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import orlop.runtime.ModelLoadException.Reason;

/** Files that are not what they say: refused with file, field and what was expected. */
class MalformedTreesTest {
  @TempDir Path dir;
  private final TreeRuntime runtime = new TreeRuntime();

  private static String recorded(String file) throws Exception {
    return Files.readString(TreeModelsTest.recorded().resolve(file), StandardCharsets.ISO_8859_1);
  }

  private void assertRefused(String type, byte[] model, String... parts) throws IOException {
    Path file = Files.write(dir.resolve("bad"), model);
    ModelLoadException e =
        assertThrows(ModelLoadException.class, () -> runtime.load("m", type, file));
    String message = String.valueOf(e.getMessage());
    assertEquals(Reason.BAD_MODEL, e.reason(), message);
    assertTrue(message.startsWith("model 'm': " + file), message);
    for (String part : parts) {
      assertTrue(message.contains(part), "'" + part + "' in: " + message);
    }
  }

  private void assertJsonRefused(String from, String to, String... parts) throws Exception {
    String model = recorded("x311_binary.json");
    String changed = model.replaceFirst(from, to);
    assertTrue(!changed.equals(model), from);
    assertRefused("xgboost", changed.getBytes(StandardCharsets.ISO_8859_1), parts);
  }

  private void assertTextRefused(String from, String to, String... parts) throws Exception {
    String model = recorded("l470_categorical.txt");
    String changed = model.replaceFirst(from, to);
    assertTrue(!changed.equals(model), from);
    assertRefused("lightgbm", changed.getBytes(StandardCharsets.ISO_8859_1), parts);
  }

  @Test
  void namesTheFieldOfAnXgboostModel() throws Exception {
    String tree = "learner.gradient_booster.model.trees[0]";
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[1,1,", tree, "right_children");
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[\"x\",", tree + ".left_ch");
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[99999,", tree, "child 99999");
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[2,", "and of another");
    assertJsonRefused("\"left_children\":\\[1,3", "\"left_children\":[1,1", "and of another");
    assertJsonRefused("\"left_children\":\\[1,3", "\"left_children\":[1,0", "child 0");
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[1e400,", "whole number");
    assertJsonRefused("\"left_children\":\\[1,", "\"left_children\":[9999999999,", "32 bits");
    assertJsonRefused("\"num_feature\":\"5\",\"num_t", "\"num_feature\":\"1\",\"num_t", "feature");
    assertJsonRefused("\"num_feature\":\"5\",\"num_t", "\"num_feature\":\"a\",\"num_t", "'a'");
    assertJsonRefused("\"name\":\"binary:logistic\"", "\"name\":\"me:too\"", "'me:too', expected");
    assertJsonRefused("\"name\":\"gbtree\"", "\"name\":\"forest\"", "'forest', expected gbtree");
    assertJsonRefused("\"num_trees\":\"6\"", "\"num_trees\":\"7\"", "expected num_trees = 7");
    assertJsonRefused("\"tree_info\":\\[0", "\"tree_info\":[3", "adds to output 3");
    assertJsonRefused("\"num_class\":\"0\"", "\"num_class\":\"999999999\"", "a tree for each");
    assertJsonRefused("\"base_score\":\"[^\"]*\"", "\"base_score\":\"[1,2]\"", "base_score");
    assertJsonRefused("\"learner\"", "\"teacher\"", "learner: missing");
    assertJsonRefused("\"iteration_indptr\":\\[0,1", "\"iteration_indptr\":[0,9", "growing");
    assertRefused("xgboost", "{\"learner\":".getBytes(StandardCharsets.UTF_8), "no JSON at byte");
    String deep = "{\"learner\":{\"attributes\":" + "[".repeat(100_000);
    assertRefused("xgboost", deep.getBytes(StandardCharsets.UTF_8));
  }

  @Test
  void namesTheFieldOfALightgbmModel() throws Exception {
    assertTextRefused("num_leaves=7", "num_leaves=2000000000", "Tree=0.num_leaves");
    assertTextRefused("left_child=3", "left_child=99", "Tree=0.left_child", "99");
    assertTextRefused("left_child=3", "left_child=-99", "Tree=0.left_child", "-99");
    assertTextRefused("left_child=3", "left_child=0", "Tree=0", "child 0");
    assertTextRefused("left_child=3", "left_child=x", "'x' at index 0, expected a number");
    assertTextRefused("split_feature=1", "split_feature=-1", "tests feature -1");
    assertTextRefused("split_feature=1", "split_feature=77", "max_feature_idx");
    assertTextRefused("decision_type=9 9 10", "decision_type=9 9 14", "missing type 0 to 2");
    assertTextRefused("cat_boundaries=0 3", "cat_boundaries=0 3000000", "cat_boundaries");
    assertTextRefused("threshold=0 1", "threshold=5 1", "set of categories 5");
    assertTextRefused("objective=regression", "objective=guess", "objective: 'guess'");
    assertTextRefused("num_tree_per_iteration=1", "num_tree_per_iteration=5", "a divisor");
    assertTextRefused("Tree=5", "Leaf=5", "tree_sizes");
    assertTextRefused("max_feature_idx=4", "max_feature_idx=-5", "max_feature_idx");
    assertTextRefused("end of trees", "end", "cut off");
  }

  /** Begins a UBJSON file whose next value is that of a node array of the first tree. */
  private static byte[] ubj(byte... tail) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    DataOutputStream out = new DataOutputStream(bytes);
    for (String name : List.of("learner", "gradient_booster", "model", "trees")) {
      name(out, name);
    }
    out.writeBytes("[");
    name(out, "left_children");
    out.write(tail);
    return bytes.toByteArray();
  }

  private static void name(DataOutputStream out, String name) throws IOException {
    out.writeBytes("{L");
    out.writeLong(name.length());
    out.writeBytes(name);
  }

  @Test
  void believesNoCountThatTheFileCannotHold() throws Exception {
    for (String type : List.of("l", "L", "U", "d", "{", "S")) {
      byte[] head = ("[$" + type + "#L").getBytes(StandardCharsets.UTF_8);
      byte[] tail = Arrays.copyOf(head, head.length + 8);
      Arrays.fill(tail, head.length, tail.length, (byte) 0x7f);
      assertRefused("xgboost", ubj(tail), "are claimed, but only 0 bytes are left");
    }
    assertRefused("xgboost", ubj("[$Z#Uz".getBytes(StandardCharsets.UTF_8)), "'Z'");
    assertRefused(
        "xgboost", ubj("[#l\377\377\377\377".getBytes(StandardCharsets.ISO_8859_1)), "-1");
    assertRefused("xgboost", ubj("Z".getBytes(StandardCharsets.UTF_8)), "left_children: type 'Z'");
    byte[] deep = new byte[100_000];
    Arrays.fill(deep, (byte) '[');
    assertRefused("xgboost", ubj(deep));
  }

  @Test
  void neverFailsInAnotherWayOnMutatedFiles() throws Exception {
    Random random = new Random(17);
    int refused = 0;
    for (String name :
        List.of(
            "x311_categorical.ubj",
            "x311_categorical.json",
            "x311_dart.ubj",
            "l470_categorical.txt",
            "l470_linear_tree.txt")) {
      byte[] model = Files.readAllBytes(TreeModelsTest.recorded().resolve(name));
      for (int i = 0; i < 150; i++) {
        byte[] changed = mutate(model, random);
        Path file = Files.write(dir.resolve("mutated"), changed);
        String type = name.startsWith("x") ? "xgboost" : "lightgbm";
        try (LoadedModel loaded = runtime.load("m", type, file)) {
          assertEquals(runtime.predictSizeBytes(file), loaded.sizeBytes());
          int features = (int) loaded.metadata().getInputs(0).getShape(1);
          if (features < 1000) {
            ModelInferRequest request = TreeModelsTest.request(new double[3][features], true);
            assertEquals(3, loaded.infer(request, Cancellation.NEVER).getOutputs(0).getShape(0));
          }
        } catch (ModelLoadException e) {
          refused++;
          assertEquals(Reason.BAD_MODEL, e.reason(), e.getMessage());
        } catch (RuntimeException | Error e) {
          fail(name + " mutation " + i, e);
        }
      }
    }
    assertTrue(refused > 150, refused + " refused");
  }

  private static byte[] mutate(byte[] model, Random random) {
    byte[] changed = model.clone();
    if (random.nextInt(10) == 0) {
      return Arrays.copyOf(changed, random.nextInt(changed.length));
    }
    int times = 1 + random.nextInt(4);
    for (int i = 0; i < times; i++) {
      int at = random.nextInt(changed.length);
      changed[at] =
          switch (random.nextInt(3)) {
            case 0 -> (byte) random.nextInt();
            case 1 -> changed[random.nextInt(changed.length)];
            default -> (byte) (changed[at] ^ 1 << random.nextInt(8));
          };
    }
    return changed;
  }
}
