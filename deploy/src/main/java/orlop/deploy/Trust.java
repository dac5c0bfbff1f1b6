package orlop.deploy;

import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Date;
import java.util.List;
import java.util.stream.Stream;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import org.jspecify.annotations.Nullable;

/**
 * Some authorities, and whether they vouch for a certificate. Immutable.
 *
 * @param authorities none: they vouch for nobody
 */
record Trust(List<X509Certificate> authorities, @Nullable X509ExtendedTrustManager by) {
  /** Stands for the authorities that the Java machine knows. */
  static final String SYSTEM = "system";

  private static final String ANY_KEY = "UNKNOWN";

  /** The authorities of files with commas between them; none for the empty name. */
  static Trust in(String setting, String files) {
    if (files.equals(SYSTEM)) {
      return new Trust(List.of(), manager(null));
    }
    return of(setting, certificates(setting, files));
  }

  /** All certificates of files with commas between them. */
  static List<X509Certificate> certificates(String setting, String files) {
    return files(files).flatMap(file -> Pem.certificates(setting, file).stream()).toList();
  }

  /** The files that those names with commas between them stand for. */
  static Stream<Path> files(String names) {
    return Stream.of(names.split(",", -1))
        .map(String::strip)
        .filter(name -> !name.isEmpty())
        .map(Path::of);
  }

  /**
   * @throws CommandException when there are some and none of them is valid today
   */
  static Trust of(String setting, List<X509Certificate> authorities) {
    if (authorities.isEmpty()) {
      return new Trust(List.of(), null);
    }
    Date today = new Date();
    if (authorities.stream().allMatch(one -> today.after(one.getNotAfter()))) {
      throw new CommandException(
          "%s: %s expired on %s"
              .formatted(
                  setting,
                  Certificates.subject(authorities.getFirst()),
                  authorities.getFirst().getNotAfter()),
          "renew it");
    }
    try {
      KeyStore store = KeyStore.getInstance("PKCS12");
      store.load(null, null);
      for (int i = 0; i < authorities.size(); i++) {
        store.setCertificateEntry("authority-" + i, authorities.get(i));
      }
      return new Trust(List.copyOf(authorities), manager(store));
    } catch (GeneralSecurityException | java.io.IOException e) {
      throw new IllegalStateException("cannot keep certificates in memory", e);
    }
  }

  private static X509ExtendedTrustManager manager(@Nullable KeyStore store) {
    try {
      TrustManagerFactory factory =
          TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
      factory.init(store);
      for (TrustManager one : factory.getTrustManagers()) {
        if (one instanceof X509ExtendedTrustManager manager) {
          return manager;
        }
      }
      throw new IllegalStateException("the Java machine checks no certificates");
    } catch (GeneralSecurityException e) {
      throw new IllegalStateException("cannot check certificates", e);
    }
  }

  /**
   * Whether they vouch for a pod. One that is made for servers alone will do, since a pod shows the
   * same one when it calls.
   */
  void check(X509Certificate[] chain) throws CertificateException {
    List<CertificateException> refusals = new ArrayList<>();
    // One that is an authority itself is not looked at any further.
    chain[0].checkValidity();
    try {
      known().checkServerTrusted(chain, ANY_KEY);
      return;
    } catch (CertificateException e) {
      refusals.add(e);
    }
    try {
      known().checkClientTrusted(chain, ANY_KEY);
    } catch (CertificateException e) {
      throw refusals.getFirst();
    }
  }

  /** Whether they vouch for a caller from outside. */
  void checkCaller(X509Certificate[] chain, String keys) throws CertificateException {
    chain[0].checkValidity();
    known().checkClientTrusted(chain, keys);
  }

  /** Whether they vouch for a server, and its name is the one that was called. */
  void checkServer(X509Certificate[] chain, String keys, SSLEngine engine)
      throws CertificateException {
    chain[0].checkValidity();
    known().checkServerTrusted(chain, keys, engine);
  }

  private X509ExtendedTrustManager known() throws CertificateException {
    X509ExtendedTrustManager manager = by;
    if (manager == null) {
      throw new CertificateException("no authority is known that could vouch for it");
    }
    return manager;
  }
}
