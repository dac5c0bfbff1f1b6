package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

/** Keys: any id comes back, no two mean the same, no mesh sees another's. */
class KeyspaceTest {
  private final Keyspace keys = new Keyspace("orlop", "m");

  @Test
  void keysAreThoseOfTheDesign() {
    assertEquals("orlop/m/models/iris", keys.model("iris"));
    assertEquals("orlop/m/aliases/prod", keys.alias("prod"));
    assertEquals("orlop/m/pods/p-1", keys.pod("p-1"));
    assertEquals("orlop/m/copies/p-1/iris", keys.copy("p-1", "iris"));
    assertEquals("orlop/m/leader", keys.leader());
    assertEquals("orlop/m/config/logger_level", keys.setting("logger_level"));
    assertEquals("orlop/m/copies/a%2Fb/c%25%2F日本", keys.copy("a/b", "c%/日本"));
  }

  @Test
  void anyIdRoundTripsThroughTheBytesOfItsKey() {
    SplittableRandom random = new SplittableRandom(7);
    Map<String, String> ids = new HashMap<>();
    for (int i = 0; i < 20_000; i++) {
      String pod = id(random);
      String id = id(random);
      assertEquals(new Keyspace.Key.OfModel(id), parse(keys.model(id)));
      assertEquals(new Keyspace.Key.OfAlias(id), parse(keys.alias(id)));
      assertEquals(new Keyspace.Key.OfPod(id), parse(keys.pod(id)));
      assertEquals(new Keyspace.Key.OfSetting(id), parse(keys.setting(id)));
      assertEquals(new Keyspace.Key.OfCopy(pod, id), parse(keys.copy(pod, id)));
      String older = ids.put(keys.model(id), id);
      assertTrue(older == null || older.equals(id), "two ids, one key: " + id + " " + older);
    }
    assertEquals(new Keyspace.Key.OfElection(), parse(keys.leader()));
    assertEquals(new Keyspace.Key.OfElection(), parse(keys.next()));
  }

  @Test
  void noMeshSeesTheKeysOfAnother() {
    for (String mesh : List.of("m2", "m/models", "", "m/", "%2F", "n")) {
      Keyspace other = new Keyspace("orlop", mesh);
      assertNull(other.parse(keys.model("a")), mesh);
      assertNull(keys.parse(other.model("a")), mesh);
      assertTrue(!other.prefix().startsWith(keys.prefix()), mesh);
    }
  }

  @Test
  void whatIsNoKeyOfOursIsNull() {
    for (String key :
        List.of(
            "",
            "orlop",
            "orlop/m/",
            "orlop/m/models",
            "orlop/m/models/a/b",
            "orlop/m/models/%",
            "orlop/m/models/%2",
            "orlop/m/models/%41",
            "orlop/m/models/%2f",
            "orlop/m/copies/a",
            "orlop/m/copies/a/b/c",
            "orlop/m/leader/",
            "orlop/m/models/%uD83D%uDE00")) {
      assertNull(keys.parse(key), key);
    }
  }

  @Test
  void noRandomKeyBreaksTheParser() {
    SplittableRandom random = new SplittableRandom(8);
    for (int i = 0; i < 20_000; i++) {
      String key = keys.prefix() + List.of("models/", "copies/", "").get(i % 3) + id(random);
      Keyspace.Key parsed = keys.parse(key);
      if (parsed instanceof Keyspace.Key.OfModel(String id)) {
        assertEquals(key, keys.model(id));
      }
    }
  }

  private Keyspace.Key parse(String key) {
    String read = new String(key.getBytes(StandardCharsets.UTF_8), StandardCharsets.UTF_8);
    return java.util.Objects.requireNonNull(keys.parse(read), key);
  }

  private static String id(SplittableRandom random) {
    StringBuilder id = new StringBuilder();
    int length = random.nextInt(1, 12);
    for (int i = 0; i < length; i++) {
      switch (random.nextInt(6)) {
        case 0 -> id.append("/%u\u0000\u007f ".charAt(random.nextInt(6)));
        case 1 -> id.appendCodePoint(random.nextInt(0x10000, 0x110000));
        case 2 -> id.append((char) random.nextInt(0x10000));
        case 3 -> id.append((char) random.nextInt(0xD800, 0xE000));
        default -> id.append((char) random.nextInt('0', 'z'));
      }
    }
    return id.toString();
  }
}
