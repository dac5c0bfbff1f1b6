package orlop.registry;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Memory;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/** Records to publish, and a view as one comparable value. */
final class Samples {
  private Samples() {}

  static final CopyState LOADED = new CopyState.Loaded(new Memory(1_000, 2_000), 30);

  static Model model(String id) {
    return new Model(
        id, "onnx", "s3://bucket/" + id, "{}", 7, 0, 3, Set.of("gpu"), Set.of("ssd", "x"), 99);
  }

  static Alias alias(String name, String active, String target) {
    return new Alias(name, "owner", active, target, Set.of("old"), "");
  }

  static Pod pod(String id) {
    return pod(id, 0);
  }

  static Pod podAt(String id, String address) {
    return pod(id, address, 0);
  }

  static Pod pod(String id, int loadsQueued) {
    return pod(id, "10.0.0.1:8033", loadsQueued);
  }

  private static Pod pod(String id, String address, int loadsQueued) {
    return new Pod(
        id,
        address,
        "z1",
        Set.of("gpu"),
        new Memory(10_000, 20_000),
        new Memory(100, 200),
        loadsQueued,
        5,
        false,
        1,
        "test");
  }

  /** All that a view holds, without its revision. */
  static Map<String, Object> content(MeshView view) {
    Map<String, Object> all = new HashMap<>();
    view.eachModel(m -> all.put("model " + m.id(), m));
    view.aliases().forEach(a -> all.put("alias " + a.name(), a));
    view.pods().forEach(p -> all.put("pod " + p.id(), p));
    view.pods().forEach(p -> all.put("copies in " + p.id(), new HashSet<>(view.copiesIn(p.id()))));
    view.eachModel(m -> all.put("copies of " + m.id(), new HashSet<Copy>(view.copies(m.id()))));
    return all;
  }
}
