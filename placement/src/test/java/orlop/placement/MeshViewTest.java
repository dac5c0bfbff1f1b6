package orlop.placement;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * The sharded view against plain maps, over random changes; and that old views stay as they were.
 */
class MeshViewTest {
  private static final int NAMES = 30;

  /** Everything in plain maps. */
  private record Naive(
      Map<String, Model> models,
      Map<String, Alias> aliases,
      Map<String, Pod> pods,
      Map<String, Copy> copies,
      Map<String, String> settings) {

    static Naive empty() {
      return new Naive(
          new HashMap<>(), new HashMap<>(), new HashMap<>(), new HashMap<>(), new HashMap<>());
    }

    Naive copy() {
      return new Naive(
          new HashMap<>(models),
          new HashMap<>(aliases),
          new HashMap<>(pods),
          new HashMap<>(copies),
          new HashMap<>(settings));
    }

    void apply(Delta delta) {
      switch (delta) {
        case Delta.ModelPut(Model model) -> models.put(model.id(), model);
        case Delta.ModelRemoved(String id) -> models.remove(id);
        case Delta.AliasPut(Alias alias) -> aliases.put(alias.name(), alias);
        case Delta.AliasRemoved(String name) -> aliases.remove(name);
        case Delta.PodPut(Pod pod) -> pods.put(pod.id(), pod);
        case Delta.PodRemoved(String id) -> pods.remove(id);
        case Delta.CopyPut(Copy copy) -> copies.put(copy.podId() + "/" + copy.modelId(), copy);
        case Delta.CopyRemoved(String podId, String modelId) ->
            copies.remove(podId + "/" + modelId);
        case Delta.SettingPut(String name, String value) -> settings.put(name, value);
        case Delta.SettingRemoved(String name) -> settings.remove(name);
      }
    }
  }

  private static Delta random(Random random) {
    String model = "m" + random.nextInt(NAMES);
    String pod = "p" + random.nextInt(NAMES / 3);
    return switch (random.nextInt(12)) {
      case 0 -> new Delta.ModelPut(SmallMesh.model(model, random.nextInt(1000)));
      case 1 -> new Delta.ModelRemoved(model);
      case 2 ->
          new Delta.AliasPut(
              new Alias("m" + random.nextInt(NAMES), "", model, model, Set.of(), ""));
      case 3 -> new Delta.AliasRemoved(model);
      case 4 -> new Delta.PodPut(SmallMesh.pod(pod, "z", random.nextInt(1000), 0));
      case 5 -> new Delta.PodRemoved(pod);
      case 6, 7, 8 ->
          new Delta.CopyPut(
              new Copy(
                  model,
                  pod,
                  random.nextBoolean() ? SmallMesh.loaded() : SmallMesh.loading(),
                  random.nextInt()));
      case 9 -> new Delta.SettingPut(pod, model);
      case 10 -> new Delta.SettingRemoved(pod);
      default -> new Delta.CopyRemoved(pod, model);
    };
  }

  @Test
  void rulesForATypeReachModelsThatAreThereAlready() {
    Model plain = SmallMesh.model("a", 1);
    MeshView before = MeshView.empty().with(List.of(new Delta.ModelPut(plain)), 1);
    LabelRules rules =
        new LabelRules(
            Map.of(plain.type(), new LabelRules.Labels(Set.of("gpu"), Set.of("ssd"))),
            new LabelRules.Labels(Set.of("other"), Set.of()));
    MeshView after = before.with(rules);
    assertEquals(Set.of(), before.required(plain));
    assertEquals(Set.of("gpu"), after.required(plain));
    assertEquals(Set.of("ssd"), after.preferred(plain));
    Model own = new Model("b", plain.type(), "p", "", 0, 0, 0, Set.of("mine"), Set.of("ssd"), 1);
    assertEquals(Set.of("gpu", "mine"), after.required(own));
    assertEquals(Set.of("other"), after.required(Model.of("c", "t2", "p", "", 1)));
    // What comes after is under the same rules.
    MeshView next = after.with(List.of(new Delta.ModelPut(own)), 2);
    assertEquals(Set.of("gpu", "mine"), next.required(own));
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void saysWhatPlainMapsSay(long seed) {
    Random random = new Random(seed);
    Naive naive = Naive.empty();
    MeshView view = MeshView.empty();
    for (int round = 0; round < 200; round++) {
      List<Delta> deltas = new ArrayList<>();
      for (int i = random.nextInt(20); i >= 0; i--) {
        deltas.add(random(random));
      }
      MeshView before = view;
      Naive naiveBefore = naive.copy();
      deltas.forEach(naive::apply);
      view = view.with(deltas, round);
      assertSame(naive, view);
      assertSame(naiveBefore, before);
      assertEquals(round, view.revision());
    }
  }

  private static void assertSame(Naive naive, MeshView view) {
    Set<Model> models = new HashSet<>();
    view.eachModel(models::add);
    assertEquals(new HashSet<>(naive.models.values()), models);
    assertEquals(naive.models.size(), view.modelCount());
    assertEquals(naive.settings, view.settings());
    assertEquals(new HashSet<>(naive.pods.values()), new HashSet<>(view.pods()));
    assertEquals(new HashSet<>(naive.aliases.values()), new HashSet<>(view.aliases()));
    for (int i = 0; i < NAMES; i++) {
      String id = "m" + i;
      assertEquals(naive.models.get(id), view.model(id));
      assertEquals(naive.aliases.get(id), view.alias(id));
      Alias alias = naive.aliases.get(id);
      assertEquals(naive.models.get(alias == null ? id : alias.activeModelId()), view.resolve(id));
      assertEquals(
          naive.aliases.values().stream().anyMatch(a -> a.refersTo(id)), view.referred(id));
      Set<Copy> copies = new HashSet<>();
      naive.copies.values().stream().filter(c -> c.modelId().equals(id)).forEach(copies::add);
      assertEquals(copies.size(), view.copies(id).size());
      assertEquals(copies, new HashSet<>(view.copies(id)));
    }
    for (int i = 0; i < NAMES / 3; i++) {
      String id = "p" + i;
      assertEquals(naive.pods.get(id), view.pod(id));
      Set<Copy> copies = new HashSet<>();
      naive.copies.values().stream().filter(c -> c.podId().equals(id)).forEach(copies::add);
      assertEquals(copies, new HashSet<>(view.copiesIn(id)));
      copies.forEach(c -> assertEquals(c, view.copy(id, c.modelId())));
    }
  }

  @Test
  void nobodyCanChangeAView() {
    MeshView view =
        new SmallMesh()
            .models(SmallMesh.model("m", 1))
            .pods(SmallMesh.pod("p"))
            .copy("m", "p", SmallMesh.loaded())
            .view();
    assertThrows(UnsupportedOperationException.class, () -> view.pods().clear());
    assertThrows(UnsupportedOperationException.class, () -> view.aliases().clear());
    assertThrows(UnsupportedOperationException.class, () -> view.copies("m").clear());
    assertThrows(UnsupportedOperationException.class, () -> view.copiesIn("p").clear());
  }

  /** A map that is asked for keys of one bucket only is a list, or a tree. */
  @Test
  void shardsAreEvenAndLeaveTheirMapsBitsToSpreadBy() {
    for (int shards : new int[] {64, 1024}) {
      Map<Integer, Map<Integer, Integer>> buckets = new HashMap<>();
      for (int i = 0; i < 100_000; i++) {
        String id = "tenant-%03d/model-%06d".formatted(i % 500, i);
        int h = id.hashCode();
        // As HashMap does for a table of 32.
        int bucket = (h ^ (h >>> 16)) & 31;
        buckets
            .computeIfAbsent(MeshView.shard(id, shards), shard -> new HashMap<>())
            .merge(bucket, 1, Integer::sum);
      }
      assertEquals(shards, buckets.size());
      int mean = 100_000 / shards;
      buckets.forEach(
          (shard, spread) -> {
            int size = spread.values().stream().mapToInt(Integer::intValue).sum();
            assertTrue(size > mean / 2 && size < mean * 2, () -> shard + " holds " + size);
            int fullest = spread.values().stream().mapToInt(Integer::intValue).max().orElse(0);
            assertTrue(fullest < size / 4, () -> shard + " has " + fullest + " in one bucket");
          });
    }
  }
}
