package orlop.registry;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

/** A wrong value is refused with its key, itself and what is allowed. */
class RegistryConfigTest {
  @Test
  void refusesWrongValuesByName() {
    refuses("endpoints", () -> with(List.of(), "r", "m", 2_000, 100, 1, 1, null));
    refuses("ftp://x:1", () -> with(List.of("ftp://x:1"), "r", "m", 2_000, 100, 1, 1, null));
    refuses(
        "localhost:2379", () -> with(List.of("localhost:2379"), "r", "m", 2_000, 100, 1, 1, null));
    refuses(
        "mix http and https",
        () -> with(List.of("https://x:1", "http://y:1"), "r", "m", 2_000, 100, 1, 1, null));
    refuses("no URI", () -> with(List.of("http://a b"), "r", "m", 2_000, 100, 1, 1, null));
    refuses("root '/r'", () -> with(ok(), "/r", "m", 2_000, 100, 1, 1, null));
    refuses("mesh", () -> with(ok(), "r", "", 2_000, 100, 1, 1, null));
    refuses("leaseTtlMs is 1999", () -> with(ok(), "r", "m", 1_999, 100, 1, 1, null));
    refuses("timeoutMs is 99", () -> with(ok(), "r", "m", 2_000, 99, 1, 1, null));
    refuses("maxInFlightWrites is 5000", () -> with(ok(), "r", "m", 2_000, 100, 5_000, 1, null));
    refuses("pageKeys is 0", () -> with(ok(), "r", "m", 2_000, 100, 1, 0, null));
    refuses(
        "together",
        () ->
            new RegistryConfig(
                ok(), "r", "m", 2_000, 100, 1, 1, "user", null, RegistryTls.DEFAULTS));
    refuses("privateKey is not", () -> new RegistryTls("", "a.crt", "", ""));
    RegistryTls tls = new RegistryTls("ca.crt", "", "", "");
    refuses(
        "not https", () -> new RegistryConfig(ok(), "r", "m", 2_000, 100, 1, 1, null, null, tls));
  }

  @Test
  void neverShowsThePasswordNorWhatPemHolds() {
    String shown = with(ok(), "r", "m", 2_000, 100, 1, 1, "geheim").toString();
    assertFalse(shown.contains("geheim"), shown);
    assertTrue(shown.contains("user=user"), shown);
    String pem = "-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----";
    String tls = new RegistryTls("ca.crt", pem, pem, "").toString();
    assertFalse(tls.contains("BEGIN"), tls);
    assertTrue(tls.contains("ca.crt"), tls);
  }

  @Test
  void defaultsAreAllowedAndTimesChangeAlone() {
    RegistryConfig changed = RegistryConfig.defaults().withTimes(3_000, 700);
    assertEquals(3_000, changed.leaseTtlMs());
    assertEquals(700, changed.timeoutMs());
    assertEquals(RegistryConfig.defaults(), changed.withTimes(10_000, 5_000));
  }

  private static void refuses(String part, Runnable make) {
    String message =
        String.valueOf(assertThrows(IllegalArgumentException.class, make::run).getMessage());
    assertTrue(message.contains(part), part + " in: " + message);
  }

  private static List<String> ok() {
    return List.of("http://127.0.0.1:2379");
  }

  private static RegistryConfig with(
      List<String> endpoints,
      String root,
      String mesh,
      long ttlMs,
      long timeoutMs,
      int inFlight,
      int page,
      @Nullable String password) {
    String user = password == null ? null : "user";
    return new RegistryConfig(
        endpoints,
        root,
        mesh,
        ttlMs,
        timeoutMs,
        inFlight,
        page,
        user,
        password,
        RegistryTls.DEFAULTS);
  }
}
