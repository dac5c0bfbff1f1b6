package orlop.controller;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Set;
import org.junit.jupiter.api.Test;
import orlop.placement.PodsWanted;

/** What a model's key may ask of the mesh. */
final class WishesTest {
  @Test
  void aKeyWithoutOurMemberWishesNothing() {
    assertEquals(Wishes.NONE, Wishes.of(""));
    assertEquals(Wishes.NONE, Wishes.of("{\"storage_key\":\"s3\"}"));
    assertEquals(Wishes.NONE, Wishes.of("no JSON that names \"orlop\""));
  }

  @Test
  void allWishesAreReadBesideTheStorage() {
    String key =
        "{\"storage_key\":\"s3\",\"orlop\":{\"minCopies\":2,\"maxCopies\":4,\"pinned\":true,"
            + "\"requiredLabels\":[\"gpu\"],\"preferredLabels\":[\"ssd\"],\"sizeBytes\":7}}";
    assertEquals(new Wishes(2, 4, true, Set.of("gpu"), Set.of("ssd"), 7), Wishes.of(key));
  }

  @Test
  void whatThePodsReadIsLeftToThem() {
    String key =
        "{\"orlop\":{\"task\":\"embedding\",\"output\":\"y\",\"inputs\":[],\"outputs\":[],"
            + "\"minCopies\":1}}";
    assertEquals(new Wishes(1, 0, false, Set.of(), Set.of(), 0), Wishes.of(key));
  }

  @Test
  void whatCannotBeMeantIsRefusedByName() {
    refuses("{\"orlop\":{\"minCopys\":2}}", "orlop.minCopys");
    refuses("{\"orlop\":{\"minCopies\":-1}}", "orlop.minCopies");
    refuses("{\"orlop\":{\"pinned\":\"yes\"}}", "orlop.pinned");
    refuses("{\"orlop\":{\"requiredLabels\":\"gpu\"}}", "orlop.requiredLabels");
    refuses("{\"orlop\":{\"instances\":0}}", "orlop.instances");
    refuses("{\"orlop\":{\"batchRows\":4097}}", "orlop.batchRows");
    refuses("{\"orlop\":{\"batchLatencyMs\":\"fast\"}}", "orlop.batchLatencyMs");
    refuses("{\"orlop\":{\"warmUp\":1001}}", "orlop.warmUp");
    refuses("{\"orlop\":3}", "orlop");
  }

  private static void refuses(String key, String named) {
    String said =
        String.valueOf(
            assertThrows(IllegalArgumentException.class, () -> Wishes.of(key)).getMessage());
    assertTrue(said.contains(named), said);
  }

  @Test
  void onlyALeaderShowsHowManyPodsAreWanted() {
    assertTrue(
        ControllerMetrics.text(true, new PodsWanted(3, "why")).contains("\norlop_pods_wanted 3\n"));
    assertTrue(!ControllerMetrics.text(false, null).contains("orlop_pods_wanted"));
  }
}
